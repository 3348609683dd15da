use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::attempts::Attempts;
use super::{Abandoned, Cancels};
use crate::submission::{DropPolicy, SubmissionState};
use crate::wait::cancel_on_drop::{CancelOnDrop, CancelOutcome};
use crate::{Error, JobId, SubmitRequest};

/// The fraction by which a pause that the daemon asked for may be longer, so that the workers do not come back together.
const PAUSE_JITTER: f64 = 0.1;

/// How often a worker with a lease shows that it is polled.
const BEAT: Duration = Duration::from_secs(1);

/// What a worker does next.
enum Next {
    Job(JobId, DropPolicy),
    Submission(SubmitRequest),
    /// Other workers have all leases.
    NoLease {
        until: Instant,
    },
    End,
}

/// Cancels one job after another until the queue is empty.
pub(super) struct Worker {
    id: usize,
    cancels: Arc<Cancels>,
    service: Arc<dyn CancelOnDrop>,
    ended: bool,
}

impl Worker {
    pub(super) fn new(id: usize, cancels: Arc<Cancels>, service: Arc<dyn CancelOnDrop>) -> Self {
        Self { id, cancels, service, ended: false }
    }

    pub(super) async fn run(mut self) {
        let cancels = Arc::clone(&self.cancels);
        loop {
            let worker_ended = cancels.worker_ended.notified();
            match self.next() {
                Next::Job(job_id, policy) => self.beating(self.cancel(job_id, policy)).await,
                Next::Submission(request) => self.beating(self.find(request)).await,
                Next::NoLease { until } => {
                    let _ = timeout_at(until, worker_ended).await;
                }
                Next::End => return,
            }
        }
    }

    /// What to do next. With the last job the worker has ended.
    fn next(&mut self) -> Next {
        let (mut queue, now) = (self.cancels.queue(), Instant::now());
        queue.workers.seen(self.id, now);
        queue.workers.release(self.id);
        if queue.abandoned.is_empty() {
            self.ended = true;
            queue.workers.end(self.id);
            drop(queue);
            self.cancels.worker_ended.notify_waiters();
            return Next::End;
        }
        if let Err(until) = queue.workers.lease(self.id, now) {
            return Next::NoLease { until };
        }
        match queue.abandoned.pop_front() {
            Some(Abandoned::Job(job_id, policy)) => {
                queue.active.push(job_id.clone());
                Next::Job(job_id, policy)
            }
            Some(Abandoned::Submission(request)) => Next::Submission(request),
            None => Next::End,
        }
    }

    /// Does `work`, and shows meanwhile that the runtime polls this worker.
    async fn beating(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        while timeout(BEAT, work.as_mut()).await.is_err() {
            self.cancels.queue().workers.seen(self.id, Instant::now());
        }
    }

    async fn cancel(&self, job_id: JobId, policy: DropPolicy) {
        let mut count = CountOnDrop { cancels: &self.cancels, job_id: &job_id, outcome: None };
        match self.attempt(|| self.service.cancel(job_id.clone(), policy)).await {
            Ok(outcome) => count.outcome = Some(outcome),
            Err((error, attempts)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%job_id, error, attempts, "cannot cancel an abandoned job");
            }
        }
    }

    /// Makes a request again while its failures are transient. Returns the last error, and how many attempts were made.
    async fn attempt<F, T>(&self, request: impl Fn() -> F) -> Result<T, (Error, u32)>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempts = Attempts::default();
        loop {
            self.pause().await;
            let error = match request().await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            self.cancels.slow_down.refused(&error);
            match attempts.failed(&error) {
                Some(pause) => sleep(pause).await,
                None => return Err((error, attempts.made())),
            }
        }
    }

    /// Waits for the end of the pause that the daemon has asked one worker for, and meant all.
    async fn pause(&self) {
        while let Some(end) = self.cancels.slow_down.end() {
            let pause = end.saturating_duration_since(Instant::now());
            sleep_until(end + pause.mul_f64(PAUSE_JITTER * fastrand::f64())).await;
        }
    }

    async fn find(&self, request: SubmitRequest) {
        let submission = request.keep_alive().shared();
        if !submission.update(SubmissionState::reclaim) {
            return;
        }
        let lost = LostOnDrop { request: &request, lost_at: Instant::now() };
        let resend = || {
            let resent = self.service.resend(request.clone());
            let request = &request;
            Box::pin(async move { resent.await.inspect_err(|error| request.keep_alive().refused(error)) })
        };
        match self.attempt(resend).await {
            Ok(accepted) => submission.update(|state| state.accept(accepted.job_id)),
            Err((error, attempts)) => {
                let idempotency_key = submission.key().map(tracing::field::display);
                let error = &error as &dyn std::error::Error;
                tracing::debug!(idempotency_key, error, attempts, "cannot find an abandoned job");
            }
        }
        drop(lost);
    }
}

/// Its runtime may end before it does.
impl Drop for Worker {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = self.cancels.queue();
        queue.workers.end(self.id);
        // The others take what is left.
        if queue.workers.len() > 0 {
            drop(queue);
            self.cancels.worker_ended.notify_waiters();
            return;
        }
        let left = std::mem::take(&mut queue.abandoned);
        drop(queue);
        for abandoned in left {
            if let Abandoned::Job(job_id, _) = abandoned {
                self.cancels.count(&job_id, None);
            }
        }
        self.cancels.worker_ended.notify_waiters();
    }
}

/// Counts the outcome, also of a cancel that the runtime drops.
struct CountOnDrop<'a> {
    cancels: &'a Cancels,
    job_id: &'a JobId,
    outcome: Option<CancelOutcome>,
}

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.cancels.count(self.job_id, self.outcome);
        self.cancels.queue().active.retain(|active| active != self.job_id);
    }
}

/// Gives up the right to send.
struct LostOnDrop<'a> {
    request: &'a SubmitRequest,
    lost_at: Instant,
}

impl Drop for LostOnDrop<'_> {
    fn drop(&mut self) {
        let submission = self.request.keep_alive().shared();
        let now = self.lost_at.saturating_duration_since(submission.first_call());
        submission.update(|state| state.lost(now));
    }
}
