use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests wait until others have ended.
const QUEUE: usize = 16;

/// Limits how many embeddings run concurrently. They are not in the queue of jobs, and each may make the model server replace the
/// model that the jobs use.
#[derive(Debug)]
pub(crate) struct EmbedLimit {
    running: Semaphore,
    /// For the requests that run or wait.
    admitted: Semaphore,
}

/// The place of a request that runs.
pub(super) struct EmbedPermit<'a> {
    _admitted: SemaphorePermit<'a>,
    _running: SemaphorePermit<'a>,
}

impl EmbedLimit {
    pub(crate) fn new(at_once: usize) -> Self {
        let admitted = at_once.saturating_add(QUEUE).min(Semaphore::MAX_PERMITS);
        Self { running: Semaphore::new(at_once), admitted: Semaphore::new(admitted) }
    }

    /// Waits until a request may run, first in, first out. `None` if too many wait already.
    pub(super) async fn acquire(&self) -> Option<EmbedPermit<'_>> {
        let admitted = self.admitted.try_acquire().ok()?;
        let running = self.running.acquire().await.ok()?;
        Some(EmbedPermit { _admitted: admitted, _running: running })
    }
}
