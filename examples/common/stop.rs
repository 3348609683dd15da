//! How a gateway stops: it rejects new jobs, lets the current waits finish for a while, and then
//! ends the rest.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Clones are the same stop.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// New jobs are rejected.
    closing: CancellationToken,
    /// Waits end without their jobs.
    detach: CancellationToken,
    /// The server ends.
    done: CancellationToken,
    waits: TaskTracker,
}

impl Stop {
    /// Registers a wait, which the drain waits for. `None` once the gateway is closing.
    pub(crate) fn register(&self) -> Option<TaskTrackerToken> {
        // Registered before the check, so that a concurrent drain waits for it.
        let wait = self.waits.token();
        if self.closing.is_cancelled() { None } else { Some(wait) }
    }

    /// Is cancelled when the drain time is over. Waits end then, and their jobs continue.
    pub(crate) fn detach(&self) -> &CancellationToken {
        &self.detach
    }

    /// Is cancelled when the server should end.
    pub(crate) fn done(&self) -> &CancellationToken {
        &self.done
    }

    /// Rejects new jobs, waits up to `limit` for the current waits, and ends the rest.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.closing.cancel();
        self.waits.close();
        if timeout(limit, self.waits.wait()).await.is_err() {
            tracing::info!(waits = self.waits.len(), "drain timeout");
        }
        self.detach.cancel();
        self.done.cancel();
    }
}
