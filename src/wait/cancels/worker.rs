use std::sync::Arc;

use tokio::time::{Instant, sleep, sleep_until};

use super::attempts::Attempts;
use super::{Abandoned, Cancels};
use crate::submission::{DropPolicy, SubmissionState};
use crate::wait::cancel_on_drop::{CancelOnDrop, CancelOutcome};
use crate::{Error, JobId, SubmitRequest};

/// The fraction by which a pause that the daemon asked for may be longer, so that the workers do not come back together.
const PAUSE_JITTER: f64 = 0.1;

/// Cancels one job after another until the queue is empty.
pub(super) struct Worker {
    cancels: Arc<Cancels>,
    service: Arc<dyn CancelOnDrop>,
    ended: bool,
}

impl Worker {
    pub(super) fn new(cancels: Arc<Cancels>, service: Arc<dyn CancelOnDrop>) -> Self {
        Self { cancels, service, ended: false }
    }

    pub(super) async fn run(mut self) {
        while let Some(next) = self.next() {
            match next {
                Abandoned::Job(job_id, policy) => self.cancel(job_id, policy).await,
                Abandoned::Submission(request) => self.find(request).await,
            }
        }
    }

    /// The next one. With the last one the worker has ended.
    fn next(&mut self) -> Option<Abandoned> {
        let mut queue = self.cancels.queue();
        let next = queue.abandoned.pop_front();
        if next.is_none() {
            self.ended = true;
            queue.workers -= 1;
            drop(queue);
            self.cancels.idle.notify_waiters();
        }
        next
    }

    async fn cancel(&self, job_id: JobId, policy: DropPolicy) {
        self.cancels.queue().active.push(job_id.clone());
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
        queue.workers -= 1;
        if queue.workers > 0 {
            return;
        }
        let left = std::mem::take(&mut queue.abandoned);
        drop(queue);
        for abandoned in left {
            if let Abandoned::Job(job_id, _) = abandoned {
                self.cancels.count(&job_id, None);
            }
        }
        self.cancels.idle.notify_waiters();
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
