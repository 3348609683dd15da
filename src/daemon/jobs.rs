use std::sync::Arc;

use tokio::sync::Notify;

use super::signals::{Signals, Watch};
use super::stats::Counters;
use super::store::{Cancelled, Claim, NewJob, Outcome, Page, Query, Refusal, Store, Submitted, Taken, Verdict};
use crate::{JobId, JobStatus};

/// The store, and who is to be woken by what changes in it: API, workers and delivery meet here and nowhere else.
#[derive(Debug)]
pub(crate) struct Jobs {
    store: Store,
    signals: Signals,
    /// Wakes a worker: there may be a job to take.
    pub(crate) work: Notify,
    /// Wakes the delivery: there may be an event to send.
    pub(crate) mail: Notify,
    pub(crate) counters: Counters,
}

impl Jobs {
    pub(crate) fn new(max_queue: usize) -> Self {
        Self {
            store: Store::new(max_queue),
            signals: Signals::default(),
            work: Notify::new(),
            mail: Notify::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn submit(&self, new: NewJob) -> Result<Submitted, Refusal> {
        let submitted = self.store.submit(new);
        match &submitted {
            Ok(job) if job.replayed => self.counters.replayed.add(),
            Ok(_) => {
                self.counters.accepted.add();
                self.mail.notify_one();
                self.work.notify_one();
            }
            Err(Refusal::Full) => self.counters.refused.add(),
            Err(Refusal::KeyReused) => {}
        }
        submitted
    }

    pub(crate) fn take(&self) -> Option<Taken> {
        let taken = self.store.take()?;
        self.changed(taken.chat.job_id());
        Some(taken)
    }

    pub(crate) fn finish(&self, job_id: &JobId, attempt: u64, outcome: Outcome) {
        if self.store.finish(job_id, attempt, outcome) {
            self.changed(job_id);
        }
    }

    pub(crate) fn cancel(&self, job_id: &JobId) -> Cancelled {
        let cancelled = self.store.cancel(job_id);
        if let Cancelled::Ended(_) = &cancelled {
            self.counters.cancelled.add();
            self.changed(job_id);
        }
        cancelled
    }

    pub(crate) fn status(&self, job_id: &JobId) -> Option<Arc<JobStatus>> {
        self.store.status(job_id)
    }

    pub(crate) fn list(&self, query: &Query) -> Page {
        self.store.list(query)
    }

    pub(crate) fn watch(&self, job_id: &JobId) -> Watch {
        self.signals.watch(job_id)
    }

    /// Returns once that run of the job is no longer wanted.
    pub(crate) async fn abandoned(&self, job_id: &JobId, attempt: u64) {
        let mut watch = self.watch(job_id);
        while self.store.is_running(job_id, attempt) {
            watch.changed().await;
        }
    }

    pub(crate) fn claim(&self) -> Claim {
        self.store.claim()
    }

    pub(crate) fn settle(&self, job_id: &JobId, verdict: &Verdict) {
        self.store.settle(job_id, verdict);
        self.mail.notify_one();
    }

    fn changed(&self, job_id: &JobId) {
        self.signals.changed(job_id);
        self.mail.notify_one();
    }
}
