use std::future::Future;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::gauge::Gauge;
use super::owner::Owner;
use super::signals::{Signals, Watch};
use super::stats::Counters;
use super::store::{
    Cancelled, Claim, JobProgress, NewJob, NextJob, Outcome, Page, Query, Store, StoreError, SubmitError, Submitted,
    Taken, Verdict,
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
    /// The changes that are carried through.
    pub(crate) changes: TaskTracker,
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
            changes: TaskTracker::new(),
        }
    }

    /// Carries a change through though whoever asked for it goes away meanwhile: the store does what it was asked for all the
    /// same, and who is to be woken by it must be.
    pub(crate) async fn run_detached<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.changes.spawn(change).await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Result<Result<Submitted, SubmitError>, StoreError> {
        let submitted = self.store.submit(new).await?;
        match &submitted {
            Ok(job) if job.replayed => self.counters.replayed.add(),
            Ok(job) => {
                tracing::debug!(job_id = %job.job_id, "a job is queued");
                self.counters.accepted.add();
                self.mail.notify_one();
                self.work.notify_one();
            }
            Err(SubmitError::Full) => self.counters.refused.add(),
            Err(SubmitError::KeyReused) => {}
        }
        Ok(submitted)
    }

    pub(crate) async fn take(&self) -> Result<Option<Taken>, StoreError> {
        loop {
            match self.store.take().await? {
                None => return Ok(None),
                Some(NextJob::Run(taken)) => {
                    tracing::debug!(job_id = %taken.job_id, attempt = taken.attempt, "a job runs");
                    self.changed(&taken.job_id);
                    return Ok(Some(taken));
                }
                Some(NextJob::Damaged(job_id)) => {
                    tracing::error!(%job_id, "a job has failed: it is damaged in the store");
                    self.changed(&job_id);
                }
            }
        }
    }

    pub(crate) async fn restart(&self, job_id: &JobId, attempt: u64) -> Result<Option<Taken>, StoreError> {
        let taken = self.store.restart(job_id, attempt).await?;
        self.changed(job_id);
        Ok(taken)
    }

    pub(crate) async fn finish(&self, job_id: &JobId, attempt: u64, outcome: Outcome) -> Result<(), StoreError> {
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

    pub(crate) async fn cancel(&self, owner: Owner, job_id: &JobId) -> Result<Cancelled, StoreError> {
        // A worker that looked for a job before it was certain that this one stays may have found none.
        let cancelled = self.store.cancel(owner, job_id).await.inspect_err(|_| self.work.notify_one())?;
        if let Cancelled::Ended(_) = &cancelled {
            tracing::info!(%job_id, "a job is cancelled");
            self.counters.cancelled.add();
            self.changed(job_id);
        }
        Ok(cancelled)
    }

    pub(crate) async fn status(&self, owner: Owner, job_id: &JobId) -> Result<Option<Arc<JobStatus>>, StoreError> {
        self.store.status(owner, job_id).await
    }

    pub(crate) async fn progress(&self, job_id: &JobId) -> Result<Option<JobProgress>, StoreError> {
        self.store.progress(job_id).await
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page, StoreError> {
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

    pub(crate) async fn claim(&self) -> Result<Claim, StoreError> {
        self.store.claim().await
    }

    pub(crate) async fn settle(&self, job_id: &JobId, verdict: Verdict) -> Result<(), StoreError> {
        let settled = self.store.settle(job_id, verdict).await;
        self.mail.notify_one();
        settled
    }

    fn changed(&self, job_id: &JobId) {
        self.signals.changed(job_id);
        self.mail.notify_one();
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;
    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;
    use crate::JobState;
    use crate::store::Sqlite;

    fn jobs(file: &Path) -> Arc<Jobs> {
        let store = Sqlite::open(file, 9, NonZeroUsize::MIN, Duration::from_secs(3600), 3).unwrap();
        Arc::new(Jobs::new(Box::new(store)))
    }

    async fn submit(jobs: Arc<Jobs>) -> Result<Submitted, StoreError> {
        let submission = serde_json::from_str(r#"{"model":"m"}"#).unwrap();
        let body = r#"{"model":"m"}"#.into();
        let new = NewJob { owner: Owner::ANONYMOUS, submission, body, webhook: None, traceparent: None, key: None };
        jobs.submit(new).await.map(Result::unwrap)
    }

    /// Asks for a change that the disk keeps waiting, and goes away.
    async fn asked_and_gone<T: Send + 'static>(
        file: &Path,
        jobs: &Jobs,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let disk = Connection::open(file).unwrap();
        disk.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut change = tokio_test::task::spawn(jobs.run_detached(change));
        assert!(change.poll().is_pending());
        tokio::task::yield_now().await;
        drop(change);
        disk.execute_batch("COMMIT").unwrap();
    }

    async fn soon<T>(what: &str, woken: impl Future<Output = T>) -> T {
        let woken = tokio::time::timeout(Duration::from_secs(60), woken).await;
        woken.unwrap_or_else(|_| panic!("{what} is not woken"))
    }

    #[tokio::test]
    async fn a_job_is_taken_though_who_submitted_it_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        asked_and_gone(&file, &jobs, submit(Arc::clone(&jobs))).await;
        soon("a worker", jobs.work.notified()).await;
        soon("the delivery", jobs.mail.notified()).await;
        assert!(jobs.take().await.unwrap().is_some());
        assert_eq!(jobs.counters.snapshot().accepted, 1);
    }

    #[tokio::test]
    async fn a_run_is_abandoned_though_who_cancelled_it_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        let job_id = submit(Arc::clone(&jobs)).await.unwrap().job_id;
        jobs.take().await.unwrap().unwrap();
        let mut watch = jobs.watch(&job_id);
        let (asked, cancelled) = (Arc::clone(&jobs), job_id.clone());
        asked_and_gone(&file, &jobs, async move { asked.cancel(Owner::ANONYMOUS, &cancelled).await }).await;
        soon("who watches", watch.changed()).await;
        assert_eq!(jobs.progress(&job_id).await.unwrap().unwrap().state, JobState::Failed);
    }

    #[tokio::test]
    async fn a_cancellation_that_cannot_be_kept_wakes_a_worker() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        let job_id = submit(Arc::clone(&jobs)).await.unwrap().job_id;
        jobs.work.notified().await;
        let sql = "CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END";
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        jobs.cancel(Owner::ANONYMOUS, &job_id).await.unwrap_err();
        soon("a worker", jobs.work.notified()).await;
        assert_eq!(jobs.queued(), 1);
    }
}
