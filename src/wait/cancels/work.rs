use std::sync::Arc;

use tokio::time::Instant;

use super::Cancels;
use super::queue::{Abandoned, Item};
use crate::JobId;
use crate::wait::cancel_on_drop::CancelOutcome;

/// An item that a worker has taken. If the worker's runtime drops it, or the service panics, the cancel has failed.
pub(super) struct Work {
    cancels: Arc<Cancels>,
    /// `None` once its outcome is known.
    item: Option<Item>,
}

impl Work {
    pub(super) fn new(cancels: Arc<Cancels>, item: Item) -> Self {
        Self { cancels, item: Some(item) }
    }

    pub(super) fn item(&mut self) -> Option<&mut Item> {
        self.item.as_mut()
    }

    fn job_id(item: &Item) -> Option<&JobId> {
        match &item.abandoned {
            Abandoned::Job(job_id, _) => Some(job_id),
            Abandoned::Submission(_) => None,
        }
    }

    pub(super) fn end(mut self, outcome: CancelOutcome) {
        self.settle(Some(outcome));
    }

    /// It is tried again then.
    pub(super) fn delay(mut self, until: Instant) {
        let Some(item) = self.item.take() else { return };
        let mut queue = self.cancels.queue();
        if let Some(job_id) = Self::job_id(&item) {
            queue.active.retain(|active| active != job_id);
        }
        queue.delay(item, until);
    }

    fn settle(&mut self, outcome: Option<CancelOutcome>) {
        let Some(item) = self.item.take() else { return };
        if let Some(job_id) = Self::job_id(&item) {
            self.cancels.count(job_id, outcome);
            self.cancels.queue().active.retain(|active| active != job_id);
        }
        // A submission is released here, which counts it if it was not found.
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.settle(None);
    }
}
