use std::sync::Arc;

use tokio::sync::Notify;

use super::signals::Signals;

/// Notifies of changes of jobs. [`Jobs`](super::jobs::Jobs) notifies of its own changes, and the store of those that other daemons make.
#[derive(Debug, Clone)]
pub(crate) struct Notifications {
    /// Wakes those that watch a job.
    pub(crate) signals: Signals,
    /// Wakes a worker of each backend: a job may be queued.
    pub(crate) work: Arc<[Notify]>,
    /// Wakes the dispatcher: an event may be due.
    pub(crate) event_due: Arc<Notify>,
    /// Wakes the task that fails overdue jobs: a job with a deadline may be queued.
    pub(crate) deadline: Arc<Notify>,
}

impl Notifications {
    /// `backends`: how many there are.
    pub(crate) fn new(backends: usize) -> Self {
        let work = (0..backends).map(|_| Notify::new()).collect();
        Self { signals: Signals::default(), work, event_due: Arc::default(), deadline: Arc::default() }
    }

    /// Wakes the workers that have found no job for them: there may be one now.
    pub(crate) fn wake_all_workers(&self) {
        self.work.iter().for_each(Notify::notify_waiters);
    }

    /// Wakes a worker of each backend, since not all of them may have the model of a job.
    pub(crate) fn wake_workers(&self) {
        self.work.iter().for_each(Notify::notify_one);
    }
}
