use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::Cancels;
use super::queue::{Abandoned, Item, NotBefore, Paused};
use super::work::Work;
use crate::submission::{DropPolicy, SubmissionState};
use crate::wait::cancel_on_drop::{CancelOnDrop, CancelOutcome};
use crate::{Error, JobId, SubmitRequest};

/// The fraction by which a pause that the daemon asked for may be longer, so that the workers do not come back together.
const PAUSE_JITTER: f64 = 0.1;

/// How often a worker with a lease shows that it is polled.
const BEAT: Duration = Duration::from_secs(1);

/// What a worker does next.
enum Next {
    Work(Work),
    /// Nothing may be sent now, or other workers have all leases.
    Wait {
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
            let changed = cancels.changed.notified();
            match self.next() {
                Next::Work(work) => self.beating(self.perform(work)).await,
                Next::Wait { until } => {
                    let _ = timeout_at(until, changed).await;
                }
                Next::End => return,
            }
        }
    }

    /// What to do next. With the last item the worker has ended.
    fn next(&mut self) -> Next {
        let (mut queue, now) = (self.cancels.queue(), Instant::now());
        queue.workers.seen(self.id, now);
        queue.workers.release(self.id);
        queue.ripen(now);
        if let Err(until) = queue.workers.lease(self.id, now) {
            return Next::Wait { until };
        }
        let submissions = queue.submission().and_then(|request| request.keep_alive().paused_until());
        let paused = Paused { cancels: self.cancels.slow_down.end(), submissions };
        if let Some(item) = queue.pop(paused) {
            if let Abandoned::Job(job_id, _) = &item.abandoned {
                queue.active.push(job_id.clone());
            }
            return Next::Work(Work::new(Arc::clone(&self.cancels), item));
        }
        queue.workers.release(self.id);
        match queue.not_before(paused) {
            Some(NotBefore::Pause(end)) => {
                let pause = end.saturating_duration_since(now);
                Next::Wait { until: end + pause.mul_f64(PAUSE_JITTER * fastrand::f64()) }
            }
            Some(NotBefore::Delay(until)) => Next::Wait { until },
            None => {
                self.ended = true;
                queue.workers.end(self.id);
                drop(queue);
                self.cancels.changed.notify_waiters();
                Next::End
            }
        }
    }

    /// Does `work`, and shows meanwhile that the runtime polls this worker.
    async fn beating(&self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        while timeout(BEAT, work.as_mut()).await.is_err() {
            self.cancels.queue().workers.seen(self.id, Instant::now());
        }
    }

    async fn perform(&self, mut work: Work) {
        let Some(item) = work.item() else { return };
        let result = match &item.abandoned {
            Abandoned::Job(job_id, policy) => self.cancel(job_id.clone(), *policy).await,
            Abandoned::Submission(request) => self.find(request).await.map(|()| CancelOutcome::Ended),
        };
        let error = match result {
            Ok(outcome) => return work.end(outcome),
            Err(error) => error,
        };
        match item.attempts.failed(&error) {
            Some(pause) => work.delay(Instant::now() + pause),
            None => log_failure(item, &error),
        }
    }

    async fn cancel(&self, job_id: JobId, policy: DropPolicy) -> Result<CancelOutcome, Error> {
        let cancelled = self.service.cancel(job_id, policy).await;
        cancelled.inspect_err(|error| self.cancels.slow_down.refused(error))
    }

    /// Finds the job of a submission. It is left to the last holder of the request, which may be the item.
    async fn find(&self, request: &SubmitRequest) -> Result<(), Error> {
        let submission = request.keep_alive().shared();
        if !submission.update(SubmissionState::reclaim) {
            return Ok(());
        }
        let lost = LostOnDrop { request, lost_at: Instant::now() };
        let found = self.service.resend(request.clone()).await;
        match found {
            Ok(accepted) => submission.update(|state| state.accept(accepted.job_id)),
            Err(error) => {
                request.keep_alive().refused(&error);
                return Err(error);
            }
        }
        drop(lost);
        Ok(())
    }
}

fn log_failure(item: &Item, error: &Error) {
    let (error, attempts) = (error as &dyn std::error::Error, item.attempts.made());
    match &item.abandoned {
        Abandoned::Job(job_id, _) => tracing::debug!(%job_id, error, attempts, "cannot cancel an abandoned job"),
        Abandoned::Submission(request) => {
            let idempotency_key = request.keep_alive().shared().key().map(tracing::field::display);
            tracing::debug!(idempotency_key, error, attempts, "cannot find an abandoned job");
        }
    }
}

/// Its runtime may end before it does, or the service may panic.
impl Drop for Worker {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut queue = self.cancels.queue();
        queue.workers.end(self.id);
        if std::thread::panicking()
            && !queue.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            self.cancels.start_worker(queue, &self.service, &runtime);
            return;
        }
        // The others take what is left.
        let left = if queue.workers.len() > 0 { Vec::new() } else { queue.take() };
        drop(queue);
        for item in left {
            // Counts it as failed.
            drop(Work::new(Arc::clone(&self.cancels), item));
        }
        self.cancels.changed.notify_waiters();
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
