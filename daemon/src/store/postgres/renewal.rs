use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::lease::Renewal;
use super::store::State;
use crate::outage_log::OutageLog;
use crate::store::StoreError;

/// The pause after a renewal that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest pause between two renewals that changed lists cause: models may be loaded and unloaded all the time.
const PUBLISH: Duration = Duration::from_secs(1);

/// How long a renewal waits for an answer once the lease is lost.
const ANSWER: Duration = Duration::from_secs(5);

/// Renews the lease for ever, and sooner when there are lists to publish.
pub(super) async fn renew(shared: &State) {
    let lease = &shared.lease;
    let (mut next, log) = (Instant::now() + lease.pace(), OutageLog::new("renew the lease"));
    let mut publishes_from = Instant::now();
    loop {
        let (until, is_lost) = (lease.until(), lease.token().is_cancelled());
        tokio::select! {
            biased;
            () = sleep_until(until), if !is_lost => {
                lease.lose("it could not be renewed in time");
                continue;
            }
            () = sleep_until(next) => {}
            () = async {
                sleep_until(publishes_from).await;
                lease.lists_changed().await;
            } => publishes_from = Instant::now() + PUBLISH,
        }
        let (publishes, began) = (lease.is_unpublished(), Instant::now());
        // The end of the lease does not wait for an answer.
        let limit = if is_lost { Instant::now() + ANSWER } else { until };
        let renewal = timeout_at(limit, lease.renew(&shared.database)).await;
        let renewed = match renewal.unwrap_or_else(|_| Err(StoreError::database_silent())) {
            Ok(Renewal::Renewed) => Ok(publishes),
            Ok(Renewal::Lost) => {
                lease.lose("another daemon has ended it");
                lease.rename();
                lease.register(&shared.database).await.map(|()| true)
            }
            Err(error) => Err(error),
        };
        if let Ok(true) = renewed {
            shared.feed.notify_one();
        }
        next = Instant::now() + if renewed.is_ok() { lease.pace() } else { RETRY.min(lease.pace()) };
        match renewed {
            Ok(_) => log.worked(began),
            Err(error) => log.failed(&error),
        }
    }
}
