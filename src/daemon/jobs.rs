use std::sync::Arc;

use tokio::sync::Notify;

use super::gauge::Gauge;
use super::owner::Owner;
use super::signals::{Signals, Watch};
use super::stats::Counters;
use super::store::{
    Broken, Cancelled, Claim, NewJob, Next, Outcome, Page, Progress, Query, Refusal, Store, Submitted, Taken, Verdict,
};
use crate::{JobId, JobStatus};

/// The store, and who is to be woken by what changes in it: API, workers and delivery meet here and nowhere else.
#[derive(Debug)]
pub(crate) struct Jobs {
    store: Box<dyn Store>,
    signals: Signals,
    /// Wakes a worker: there may be a job to take.
    pub(crate) work: Notify,
    /// Wakes the delivery: there may be an event to send.
    pub(crate) mail: Notify,
    pub(crate) counters: Counters,
    /// Held by each worker while it has a job.
    pub(crate) running: Gauge,
}

impl Jobs {
    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            signals: Signals::default(),
            work: Notify::new(),
            mail: Notify::new(),
            counters: Counters::default(),
            running: Gauge::default(),
        }
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Result<Result<Submitted, Refusal>, Broken> {
        let submitted = self.store.submit(new).await?;
        match &submitted {
            Ok(job) if job.replayed => self.counters.replayed.add(),
            Ok(job) => {
                tracing::debug!(job_id = %job.job_id, "a job is queued");
                self.counters.accepted.add();
                self.mail.notify_one();
                self.work.notify_one();
            }
            Err(Refusal::Full) => self.counters.refused.add(),
            Err(Refusal::KeyReused) => {}
        }
        Ok(submitted)
    }

    pub(crate) async fn take(&self) -> Result<Option<Taken>, Broken> {
        loop {
            match self.store.take().await? {
                None => return Ok(None),
                Some(Next::Run(taken)) => {
                    tracing::debug!(job_id = %taken.chat.job_id(), attempt = taken.chat.attempt(), "a job runs");
                    self.changed(taken.chat.job_id());
                    return Ok(Some(taken));
                }
                Some(Next::Damaged(job_id)) => {
                    tracing::error!(%job_id, "a job has failed: it is damaged in the store");
                    self.changed(&job_id);
                }
            }
        }
    }

    pub(crate) async fn restart(&self, job_id: &JobId, attempt: u64) -> Result<Option<Taken>, Broken> {
        let taken = self.store.restart(job_id, attempt).await?;
        self.changed(job_id);
        Ok(taken)
    }

    pub(crate) async fn finish(&self, job_id: &JobId, attempt: u64, outcome: Outcome) -> Result<(), Broken> {
        let failed = match &outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(error) => Some(error.clone()),
        };
        if self.store.finish(job_id, attempt, outcome).await? {
            match failed {
                None => tracing::info!(%job_id, attempt, "a job is done"),
                Some(error) => tracing::info!(%job_id, attempt, error, "a job has failed"),
            }
            self.changed(job_id);
        }
        Ok(())
    }

    pub(crate) async fn cancel(&self, owner: Owner, job_id: &JobId) -> Result<Cancelled, Broken> {
        let cancelled = self.store.cancel(owner, job_id).await?;
        if let Cancelled::Ended(_) = &cancelled {
            tracing::info!(%job_id, "a job is cancelled");
            self.counters.cancelled.add();
            self.changed(job_id);
        }
        Ok(cancelled)
    }

    pub(crate) async fn status(&self, owner: Owner, job_id: &JobId) -> Result<Option<Arc<JobStatus>>, Broken> {
        self.store.status(owner, job_id).await
    }

    pub(crate) async fn progress(&self, job_id: &JobId) -> Result<Option<Progress>, Broken> {
        self.store.progress(job_id).await
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page, Broken> {
        self.store.list(query).await
    }

    /// How many jobs wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.store.queued()
    }

    pub(crate) fn watch(&self, job_id: &JobId) -> Watch {
        self.signals.watch(job_id)
    }

    /// Returns once that run of the job is no longer wanted.
    pub(crate) async fn abandoned(&self, job_id: &JobId, attempt: u64) {
        let mut watch = self.watch(job_id);
        // While the store cannot say otherwise, the run goes on.
        while self.progress(job_id).await.map_or(true, |job| job.is_some_and(|job| job.is_run(attempt))) {
            watch.changed().await;
        }
    }

    pub(crate) async fn claim(&self) -> Result<Claim, Broken> {
        self.store.claim().await
    }

    pub(crate) async fn settle(&self, job_id: &JobId, verdict: Verdict) -> Result<(), Broken> {
        let settled = self.store.settle(job_id, verdict).await;
        self.mail.notify_one();
        settled
    }

    fn changed(&self, job_id: &JobId) {
        self.signals.changed(job_id);
        self.mail.notify_one();
    }
}
