//! Limits on waiting: a test that would hang fails instead. No test asserts how long something took in real time.

use std::time::Duration;

use tokio::time::timeout;

pub(crate) use crate::eventually::{bounded, eventually};

/// Longer than any test waits on paused time, which costs nothing.
const PAUSED_LIMIT: Duration = Duration::from_secs(10_000_000);

/// [`bounded`] for tests on paused time, where a minute passes at once.
pub(crate) async fn bounded_paused<F: Future>(future: F) -> F::Output {
    timeout(PAUSED_LIMIT, future).await.expect("the future does not complete")
}
