mod boxes;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::futures::Notified;
use tokio_util::task::TaskTracker;

use super::gauge::Gauge;
use super::notifications::Notifications;
use super::only_box::OnlyBox;
use super::outage_log::OutageLog;
use super::owner::Owner;
use super::signals::Watch;
use super::stats::{Counters, Stats};
use super::store::{
    Cancelled, Claim, Cost, DEADLINE, JobProgress, LeaseLost, NewJob, NextJob, Outcome, Overdue, Page, Query, Store,
    StoreError, StoreOptions, SubmitError, Submitted, Taken, Verdict, Wanted,
};
use super::streams::Streams;
use crate::{JobId, JobStatus};

/// The store, and the notifications of its changes. API, workers and dispatcher communicate only through it.
#[derive(Debug)]
pub(crate) struct Jobs {
    store: Box<dyn Store>,
    /// This daemon, unless others share the store.
    only_box: OnlyBox,
    /// Fed by the store.
    pub(crate) streams: Arc<Streams>,
    /// Shared with the store.
    notifications: Notifications,
    pub(crate) counters: Counters,
    /// How many workers have a job.
    pub(crate) running: Gauge,
    /// The changes that run detached.
    pub(crate) changes: TaskTracker,
    reading: OutageLog,
    changing: OutageLog,
    /// When the next queued job fails, as it was last read.
    next_deadline: Mutex<Option<Timestamp>>,
}

impl Jobs {
    /// `options` are those of the store. `name` is that of this daemon.
    pub(crate) fn new(store: Box<dyn Store>, options: &StoreOptions, name: String) -> Self {
        Self {
            store,
            only_box: OnlyBox::new(name, options.lists.clone()),
            streams: Arc::clone(&options.streams),
            notifications: options.notifications.clone(),
            counters: Counters::default(),
            running: Gauge::default(),
            changes: TaskTracker::new(),
            reading: OutageLog::new("read jobs in the store"),
            changing: OutageLog::new("change jobs in the store"),
            next_deadline: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn in_memory(options: &StoreOptions) -> Self {
        Self::new(Box::new(super::store::Memory::new(options.clone())), options, "test".to_owned())
    }

    /// Runs a change in its own task, so that it completes if the caller is dropped. The store completes the change in any case,
    /// and the notifications that follow it must not be lost.
    pub(crate) async fn run_detached<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.changes.spawn(change).await.unwrap_or_else(|_| Err(StoreError::closed()))
    }

    pub(crate) async fn submit(&self, new: NewJob) -> Result<Result<Submitted, SubmitError>, StoreError> {
        let (has_deadline, has_webhook) = (new.start_by.is_some(), new.webhook.is_some());
        let stored = |submitted: &Result<Submitted, _>| submitted.as_ref().is_ok_and(|job| !job.replayed);
        let submitted = self.changing.observe(self.store.submit(new), stored).await?;
        match &submitted {
            Ok(job) if job.replayed => self.counters.replayed.add(),
            Ok(job) => {
                tracing::debug!(job_id = %job.job_id, "job queued");
                self.counters.accepted.add();
                self.wake_workers();
                if has_webhook {
                    self.notifications.event_due.notify_one();
                }
                if has_deadline {
                    self.notifications.deadline.notify_one();
                }
            }
            Err(SubmitError::KeyReused) => {}
            Err(SubmitError::Full | SubmitError::TooManyOfOwner | SubmitError::MemoryFull) => {
                self.counters.refused.add();
            }
        }
        Ok(submitted)
    }

    /// See [`Notifications::wake_workers`].
    pub(crate) fn wake_workers(&self) {
        self.notifications.wake_workers();
    }

    /// Completes when a job may be queued for this backend.
    pub(crate) fn work(&self, backend: usize) -> Notified<'_> {
        self.notifications.work[backend].notified()
    }

    /// Completes when a job with an earlier deadline may be queued.
    pub(crate) fn deadline(&self) -> Notified<'_> {
        self.notifications.deadline.notified()
    }

    /// Completes when an event may be due.
    pub(crate) fn event_due(&self) -> Notified<'_> {
        self.notifications.event_due.notified()
    }

    pub(crate) async fn take(&self, wanted: &Wanted) -> Result<Option<Taken>, StoreError> {
        if self.only_box.is_draining() {
            return Ok(None);
        }
        loop {
            match self.changing.observe(self.store.take(wanted.clone()), Option::is_some).await? {
                None => return Ok(None),
                Some(NextJob::Run(taken)) => {
                    tracing::debug!(job_id = %taken.job_id, attempt = taken.attempt, "attempt started");
                    self.changed(&taken.job_id);
                    return Ok(Some(taken));
                }
                Some(NextJob::Damaged(job_id)) => {
                    tracing::error!(%job_id, "job failed: submission damaged in the store");
                    self.changed(&job_id);
                }
            }
        }
    }

    pub(crate) async fn requeue(
        &self,
        job_id: &JobId,
        attempt: u64,
        cost: Cost,
        error: &str,
    ) -> Result<(), StoreError> {
        self.changing.observe(self.store.requeue(job_id, attempt, cost, error), |()| true).await?;
        self.changed(job_id);
        self.wake_workers();
        self.notifications.deadline.notify_one();
        Ok(())
    }

    pub(crate) async fn restart(&self, job_id: &JobId, attempt: u64, error: &str) -> Result<Option<Taken>, StoreError> {
        let taken = self.changing.observe(self.store.restart(job_id, attempt, error), Option::is_some).await?;
        self.changed(job_id);
        Ok(taken)
    }

    /// Fails the queued jobs whose time has passed. Returns when the next one will.
    pub(crate) async fn fail_overdue(&self) -> Result<Option<Timestamp>, StoreError> {
        let failed = |overdue: &Overdue| !overdue.jobs.is_empty();
        let Overdue { jobs, next } = self.changing.observe(self.store.fail_overdue(), failed).await?;
        jobs.iter().for_each(|job_id| self.deadline_missed(job_id));
        let before = {
            let mut deadline = self.next_deadline.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *deadline, next)
        };
        if next.is_some() && next != before {
            // A worker may have left the job to another backend.
            self.wake_workers();
        }
        Ok(next)
    }

    /// Whether a queued job fails within this time if it is not started.
    pub(crate) fn is_deadline_within(&self, time: Duration) -> bool {
        let next = *self.next_deadline.lock().unwrap_or_else(PoisonError::into_inner);
        next.is_some_and(|next| {
            next.duration_since(Timestamp::now()) < SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
        })
    }

    /// The daemon stops, and no worker runs any more.
    pub(crate) async fn interrupt(&self) -> Result<(), StoreError> {
        self.store.interrupt().await
    }

    /// Completes when this daemon may no longer run a job that it has taken.
    pub(crate) fn lease_lost(&self, job_id: &JobId) -> LeaseLost {
        self.store.lease_lost(job_id)
    }

    /// The daemon ends.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }

    pub(crate) async fn finish(&self, job_id: &JobId, attempt: u64, outcome: Outcome) -> Result<(), StoreError> {
        let failed = match &outcome {
            Outcome::Done(_) => None,
            Outcome::Failed(error) => Some(error.clone()),
        };
        if self.changing.observe(self.store.finish(job_id, attempt, outcome), |ended| *ended).await? {
            match failed {
                None => {
                    self.counters.done.add();
                    tracing::info!(%job_id, attempt, "job done");
                }
                Some(error) => {
                    self.counters.failed.add();
                    tracing::info!(%job_id, attempt, error, "job failed");
                }
            }
            self.ended(job_id);
        } else {
            // A transaction before this one may have ended the job, and its answer was lost.
            self.changed(job_id);
        }
        Ok(())
    }

    /// Fails a job that a worker has taken after its deadline.
    pub(crate) async fn miss_deadline(&self, job_id: &JobId, attempt: u64) -> Result<(), StoreError> {
        let missed = self.store.finish(job_id, attempt, Outcome::Failed(DEADLINE.to_owned()));
        if self.changing.observe(missed, |ended| *ended).await? {
            self.deadline_missed(job_id);
        } else {
            self.changed(job_id);
        }
        Ok(())
    }

    fn deadline_missed(&self, job_id: &JobId) {
        tracing::info!(%job_id, "job failed: not started by its deadline");
        self.counters.deadline_missed.add();
        self.ended(job_id);
    }

    fn ended(&self, job_id: &JobId) {
        self.changed(job_id);
        // Its owner may run another job now, which the backend of this one may not have.
        if self.notifications.work.len() > 1 {
            self.wake_workers();
        }
    }

    pub(crate) async fn cancel(&self, owner: Owner, job_id: &JobId) -> Result<Cancelled, StoreError> {
        // The index did not have this job while the cancellation was pending, so a worker may have found no job.
        let has_ended = |cancelled: &Cancelled| matches!(cancelled, Cancelled::Ended(_));
        let cancelled = self.changing.observe(self.store.cancel(owner, job_id), has_ended).await;
        let cancelled = cancelled.inspect_err(|_| self.wake_workers())?;
        if let Cancelled::Ended(_) = &cancelled {
            tracing::info!(%job_id, "job cancelled");
            self.counters.cancelled.add();
            self.ended(job_id);
        }
        Ok(cancelled)
    }

    pub(crate) async fn status(&self, owner: Owner, job_id: &JobId) -> Result<Option<Arc<JobStatus>>, StoreError> {
        self.reading.observe(self.store.status(owner, job_id), |_| true).await
    }

    pub(crate) async fn progress(&self, job_id: &JobId) -> Result<Option<JobProgress>, StoreError> {
        self.reading.observe(self.store.progress(job_id), |_| true).await
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page, StoreError> {
        self.reading.observe(self.store.list(query), |_| true).await
    }

    pub(crate) fn stats(&self) -> Stats {
        let (stream_events, stream_resets) = (self.streams.events.get(), self.streams.resets.get());
        Stats { stream_events, stream_resets, ..self.counters.snapshot() }
    }

    /// Whether the store can store something now.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }

    /// How many jobs are queued.
    pub(crate) fn queued(&self) -> usize {
        self.store.queued()
    }

    pub(crate) fn watch(&self, job_id: &JobId) -> Watch {
        self.notifications.signals.watch(job_id)
    }

    /// Waits until `attempt` is no longer the current one, or the job has ended.
    pub(crate) async fn abandoned(&self, job_id: &JobId, attempt: u64) {
        let mut watch = self.watch(job_id);
        // If the store fails, the attempt continues.
        while self.progress(job_id).await.map_or(true, |job| job.is_some_and(|job| job.is_current(attempt))) {
            watch.changed().await;
        }
    }

    pub(crate) async fn claim(&self) -> Result<Claim, StoreError> {
        self.changing.observe(self.store.claim(), |claim| matches!(claim, Claim::Now(_))).await
    }

    pub(crate) async fn settle(&self, job_id: &JobId, verdict: Verdict) -> Result<(), StoreError> {
        let settled = self.changing.observe(self.store.settle(job_id, verdict), |()| true).await;
        self.notifications.event_due.notify_one();
        settled
    }

    fn changed(&self, job_id: &JobId) {
        self.notifications.signals.changed(job_id);
        self.notifications.event_due.notify_one();
    }
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use rusqlite::Connection;

    use super::*;
    use crate::JobState;
    use crate::store::Sqlite;

    fn jobs(file: &Path) -> Arc<Jobs> {
        let options = StoreOptions::of_test(9);
        let store = Sqlite::open(file, options.clone()).unwrap();
        Arc::new(Jobs::new(Box::new(store), &options, "test".to_owned()))
    }

    async fn submit(jobs: Arc<Jobs>) -> Result<Submitted, StoreError> {
        let webhook = Some("http://127.0.0.1:1/".parse().unwrap());
        jobs.submit(NewJob { webhook, ..NewJob::of_test(r#"{"model":"m"}"#) }).await.map(Result::unwrap)
    }

    /// Starts a change, drops its future while the file is locked, then unlocks the file.
    async fn start_and_drop<T: Send + 'static>(
        file: &Path,
        jobs: &Jobs,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        let lock = Connection::open(file).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut change = tokio_test::task::spawn(jobs.run_detached(change));
        assert!(change.poll().is_pending());
        tokio::task::yield_now().await;
        drop(change);
        lock.execute_batch("COMMIT").unwrap();
    }

    async fn woken<T>(what: &str, wake: impl Future<Output = T>) -> T {
        let woken = tokio::time::timeout(Duration::from_secs(60), wake).await;
        woken.unwrap_or_else(|_| panic!("{what} is not woken"))
    }

    #[tokio::test]
    async fn dropped_submission_wakes_worker() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        start_and_drop(&file, &jobs, submit(Arc::clone(&jobs))).await;
        woken("a worker", jobs.work(0)).await;
        woken("the dispatcher", jobs.event_due()).await;
        assert!(jobs.take(&Wanted::any()).await.unwrap().is_some());
        assert_eq!(jobs.counters.snapshot().accepted, 1);
    }

    #[tokio::test]
    async fn dropped_cancellation_ends_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        let job_id = submit(Arc::clone(&jobs)).await.unwrap().job_id;
        jobs.take(&Wanted::any()).await.unwrap().unwrap();
        let mut watch = jobs.watch(&job_id);
        let (shared, cancelled) = (Arc::clone(&jobs), job_id.clone());
        start_and_drop(&file, &jobs, async move { shared.cancel(Owner::ANONYMOUS, &cancelled).await }).await;
        woken("the watcher", watch.changed()).await;
        assert_eq!(jobs.progress(&job_id).await.unwrap().unwrap().state, JobState::Failed);
    }

    /// As after an outcome whose answer was lost.
    #[tokio::test]
    async fn outcome_that_is_stored_already_wakes_watcher() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(&folder.path().join("jobs.db"));
        let job_id = submit(Arc::clone(&jobs)).await.unwrap().job_id;
        jobs.take(&Wanted::any()).await.unwrap().unwrap();
        let outcome = || Outcome::Failed("no".to_owned());
        assert!(jobs.store.finish(&job_id, 1, outcome()).await.unwrap());
        let mut watch = jobs.watch(&job_id);
        jobs.finish(&job_id, 1, outcome()).await.unwrap();
        woken("the watcher", watch.changed()).await;
        assert_eq!(jobs.counters.snapshot().failed, 0);
    }

    #[tokio::test]
    async fn failed_cancellation_wakes_worker() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let jobs = jobs(&file);
        let job_id = submit(Arc::clone(&jobs)).await.unwrap().job_id;
        jobs.work(0).await;
        let sql = "CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END";
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        jobs.cancel(Owner::ANONYMOUS, &job_id).await.unwrap_err();
        woken("a worker", jobs.work(0)).await;
        assert_eq!(jobs.queued(), 1);
    }
}
