mod attempts;
mod outcomes;
mod queue;
mod work;
mod worker;
mod workers;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::queue::{Abandoned, Queue};
use self::worker::Worker;
use super::cancel_on_drop::{CancelOnDrop, CancelOutcome};
use super::slow_down::SlowDown;
use super::stats::Counters;
use crate::submission::DropPolicy;
use crate::{JobId, SubmitRequest};

/// Cancels the abandoned jobs of one wait service in the background, a few at a time.
pub(super) struct Cancels {
    service: Option<Arc<dyn CancelOnDrop>>,
    counters: Arc<Counters>,
    queue: Mutex<Queue>,
    /// Something was abandoned, a worker has ended, or an outcome is known.
    changed: Notify,
    /// Until when the daemon has asked to send no cancels.
    slow_down: SlowDown,
}

impl Cancels {
    pub(super) fn new(service: Option<Arc<dyn CancelOnDrop>>, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            service,
            counters,
            queue: Mutex::default(),
            changed: Notify::new(),
            slow_down: SlowDown::default(),
        })
    }

    /// Cancels a job by a policy that may cancel.
    pub(super) fn job(self: &Arc<Self>, job_id: JobId, policy: DropPolicy) {
        self.push(Abandoned::Job(job_id, policy));
    }

    /// Finds the job of a submission that may have arrived, by its idempotency key. The job is then left to the last holder of the
    /// request, which may be this one.
    pub(super) fn submission(self: &Arc<Self>, request: SubmitRequest) {
        self.push(Abandoned::Submission(request));
    }

    /// Counts an abandoned job that cannot be cancelled, because its id is not known.
    pub(super) fn unknown(&self) {
        self.counters.cancels_failed.add();
    }

    /// Records from now on which jobs have ended, and which go on.
    pub(super) fn record(&self) {
        self.queue().outcomes.get_or_insert_default();
    }

    /// These waits were ended, with the drop policies of their submissions.
    pub(super) fn closed(&self, jobs: Vec<(JobId, DropPolicy)>) {
        if let Some(outcomes) = &mut self.queue().outcomes {
            for (job_id, policy) in jobs {
                if policy != DropPolicy::Detach && self.service.is_some() {
                    outcomes.expect_drop(job_id.clone());
                }
                outcomes.goes_on(job_id);
            }
        }
    }

    /// Nobody waits for the job any more, and it goes on.
    pub(super) fn goes_on(&self, job_id: JobId) {
        if let Some(outcomes) = &mut self.queue().outcomes {
            outcomes.goes_on(job_id);
        }
    }

    /// The result of the job is known.
    pub(super) fn has_ended(&self, job_id: JobId) {
        if let Some(outcomes) = &mut self.queue().outcomes {
            outcomes.ended(job_id);
        }
    }

    /// Completes when the jobs of [`closed`](Self::closed) that are to be cancelled have been dropped.
    pub(super) async fn dropped(&self) {
        loop {
            let changed = self.changed.notified();
            if self.queue().outcomes.as_ref().is_none_or(|outcomes| !outcomes.expects_drop()) {
                return;
            }
            changed.await;
        }
    }

    /// Completes when nothing is left to cancel.
    pub(super) async fn finished(self: &Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            if self.is_finished() {
                return;
            }
            changed.await;
        }
    }

    /// Whether nothing is left to cancel. If something is, the runtimes of the drops may not be driven any more, so this one helps.
    fn is_finished(self: &Arc<Self>) -> bool {
        let queue = self.queue();
        if queue.is_empty() {
            return !queue.workers.are_busy();
        }
        if let (Some(service), Ok(runtime)) = (&self.service, Handle::try_current()) {
            self.start_worker(queue, service, &runtime);
        }
        false
    }

    /// The jobs that go on since [`record`](Self::record), or are still to be cancelled.
    pub(super) fn going_on(&self) -> Vec<JobId> {
        let queue = self.queue();
        queue.outcomes.as_ref().map(|outcomes| outcomes.going_on(queue.jobs())).unwrap_or_default()
    }

    /// The cancel of a job has ended. `None`: it failed.
    fn count(&self, job_id: &JobId, outcome: Option<CancelOutcome>) {
        match outcome {
            Some(CancelOutcome::Ended) => self.counters.cancelled.add(),
            Some(CancelOutcome::LeftRunning) => {}
            None => self.counters.cancels_failed.add(),
        }
        if let Some(outcomes) = &mut self.queue().outcomes {
            match outcome {
                Some(CancelOutcome::Ended) => outcomes.ended(job_id.clone()),
                Some(CancelOutcome::LeftRunning) | None => outcomes.goes_on(job_id.clone()),
            }
        }
    }

    /// Called from a drop, and so never blocks or panics.
    fn push(self: &Arc<Self>, abandoned: Abandoned) {
        let (Some(service), Ok(runtime)) = (&self.service, Handle::try_current()) else {
            const MESSAGE: &str = "cannot cancel an abandoned job: no service for it, or dropped outside a runtime";
            match abandoned {
                Abandoned::Job(job_id, _) => {
                    tracing::debug!(%job_id, "{MESSAGE}");
                    self.count(&job_id, None);
                }
                Abandoned::Submission(request) => {
                    let idempotency_key = request.keep_alive().shared().key().map(tracing::field::display);
                    tracing::debug!(idempotency_key, "{MESSAGE}");
                }
            }
            return;
        };
        let mut queue = self.queue();
        if let (Some(outcomes), Abandoned::Job(job_id, _)) = (&mut queue.outcomes, &abandoned) {
            outcomes.dropped(job_id);
        }
        queue.push(abandoned);
        self.start_worker(queue, service, &runtime);
        // Workers that pause may be needed for it.
        self.changed.notify_waiters();
    }

    fn start_worker(
        self: &Arc<Self>,
        mut queue: MutexGuard<'_, Queue>,
        service: &Arc<dyn CancelOnDrop>,
        runtime: &Handle,
    ) {
        let started = queue.workers.start(runtime.id(), Instant::now());
        drop(queue);
        if let Some(id) = started {
            runtime.spawn(Worker::new(id, Arc::clone(self), Arc::clone(service)).run());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue();
        f.debug_struct("Cancels")
            .field("waiting", &queue.len())
            .field("workers", &queue.workers.len())
            .finish_non_exhaustive()
    }
}
