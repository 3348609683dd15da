use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::failure::failure;
use super::store::StoreError;
use crate::JobId;

/// The pause before a failed transaction is repeated.
pub(super) const STORE_RETRY: Duration = Duration::from_secs(1);

/// Repeats a transaction until it succeeds, so that a full disk loses no outcome. Once `closing` is cancelled it tries one last
/// time. Returns `None` if that fails too.
///
/// `what` names the change in the log.
pub(super) async fn until_stored<T, F>(
    job_id: &JobId,
    what: &'static str,
    closing: &CancellationToken,
    transaction: impl Fn() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut is_logged = false;
    loop {
        let last = closing.is_cancelled();
        match transaction().await {
            Ok(value) => return Some(value),
            Err(error) if is_logged && !last => {
                tracing::debug!(%job_id, error = %failure(&error), "cannot store {what}");
            }
            Err(error) => {
                is_logged = true;
                tracing::error!(%job_id, error = %failure(&error), "cannot store {what} yet");
            }
        }
        if last {
            return None;
        }
        tokio::select! {
            () = sleep(STORE_RETRY) => {}
            () = closing.cancelled() => {}
        }
    }
}
