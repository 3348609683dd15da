mod attempts;
mod outcomes;
mod worker;
mod workers;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::outcomes::Outcomes;
use self::worker::Worker;
use self::workers::Workers;
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
    /// A worker has ended.
    worker_ended: Notify,
    /// Until when the daemon has asked to send no cancels.
    slow_down: SlowDown,
}

#[derive(Default)]
struct Queue {
    abandoned: VecDeque<Abandoned>,
    workers: Workers,
    /// The jobs that are being cancelled.
    active: Vec<JobId>,
    /// Since [`Cancels::record`] was called.
    outcomes: Option<Outcomes>,
}

/// What was abandoned.
enum Abandoned {
    Job(JobId, DropPolicy),
    /// The response to this submission was not waited for.
    Submission(SubmitRequest),
}

impl Cancels {
    pub(super) fn new(service: Option<Arc<dyn CancelOnDrop>>, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            service,
            counters,
            queue: Mutex::default(),
            worker_ended: Notify::new(),
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

    /// The waits for these jobs were ended.
    pub(super) fn closed(&self, jobs: Vec<JobId>) {
        if let Some(outcomes) = &mut self.queue().outcomes {
            jobs.into_iter().for_each(|job_id| outcomes.goes_on(job_id));
        }
    }

    /// Completes when nothing is left to cancel.
    pub(super) async fn finished(self: &Arc<Self>) {
        loop {
            let worker_ended = self.worker_ended.notified();
            if self.is_finished() {
                return;
            }
            worker_ended.await;
        }
    }

    /// Whether nothing is left to cancel. If something is, the runtimes of the drops may not be driven any more, so this one helps.
    fn is_finished(self: &Arc<Self>) -> bool {
        let queue = self.queue();
        if queue.abandoned.is_empty() {
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
        let waiting = queue.abandoned.iter().filter_map(|abandoned| match abandoned {
            Abandoned::Job(job_id, _) => Some(job_id),
            Abandoned::Submission(_) => None,
        });
        queue.outcomes.as_ref().map(|outcomes| outcomes.going_on(waiting.chain(&queue.active))).unwrap_or_default()
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
        queue.abandoned.push_back(abandoned);
        self.start_worker(queue, service, &runtime);
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
            .field("waiting", &queue.abandoned.len())
            .field("workers", &queue.workers.len())
            .finish_non_exhaustive()
    }
}
