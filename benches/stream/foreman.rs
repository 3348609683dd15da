//! The daemon of this workspace with a file, as a process of its own. Its jobs wait until the parent process orders their end.

use std::sync::Arc;
use std::time::Duration;

use foreman_client::BoxError;
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tower::service_fn;

use super::WAITING;
use super::support::SECRET;
use super::support::process::{finish_orders, pin};

const WORKERS: usize = 8;

/// The time from the end of one job to that of the next: long enough for the daemon to send the webhooks of both meanwhile.
const PACE: Duration = Duration::from_millis(4);

pub(super) fn main() -> Result<(), BoxError> {
    pin(1);
    let ends = Arc::new(Semaphore::new(0));
    let mut orders = finish_orders();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let backend = backend(Arc::clone(&ends));
        let daemon = Daemon::builder()
            .store(folder.path().join("jobs.db"))
            .backend(backend)
            .workers(WORKERS)
            .max_queue(2 * WAITING)
            .webhook_secret(SECRET)
            .start()
            .await?;
        println!("{}", daemon.url());
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while orders.recv().await.is_some() {
            for _ in 0..WAITING {
                ticks.tick().await;
                ends.add_permits(1);
            }
        }
        Ok(())
    })
}

/// Each chat needs a permit to end.
fn backend(ends: Arc<Semaphore>) -> Backend {
    Backend::new(service_fn(move |_: Chat| {
        let ends = Arc::clone(&ends);
        async move {
            ends.acquire().await?.forget();
            Ok::<_, BoxError>(ChatResponse::from_value(&"sky ".repeat(300))?)
        }
    }))
}
