mod next_job;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use foreman_protocol::HumanDuration;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::next_job::next_job;
use super::attempts::Attempts;
use super::backend::{Backend, Chat, Unavailable, is_transient};
use super::backends::{Backends, Member};
use super::failure::failure;
use super::jobs::Jobs;
use super::store::{Cost, Outcome, Output, Taken};
use super::until_stored::until_stored;
use super::vital::panic_message;
use crate::JobId;

/// What all workers of a backend share.
#[derive(Debug, Clone)]
pub(super) struct WorkerContext {
    pub(super) jobs: Arc<Jobs>,
    pub(super) backends: Arc<Backends>,
    pub(super) member: Arc<Member>,
    pub(super) attempts: Attempts,
    pub(super) closing: CancellationToken,
}

/// How long a probe of the backend may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes queued jobs and runs them one at a time, until `closing` is cancelled.
pub(super) async fn work(context: WorkerContext) {
    let WorkerContext { closing, .. } = &context;
    let mut was_idle = true;
    while !closing.is_cancelled() {
        // Jobs stay queued while the backend is unavailable.
        tokio::select! {
            () = context.available() => {}
            () = closing.cancelled() => return,
        }
        // While it runs a job, it must not be registered for another one: that would wake no worker.
        let taken = next_job(&context, was_idle).await;
        was_idle = taken.is_none();
        if let Some(taken) = taken {
            run(&context, taken).await;
        }
    }
}

impl WorkerContext {
    /// Waits until the backend is available, and its models are known as far as they can be.
    async fn available(&self) {
        self.member.asked().await;
        let probe = || async {
            match timeout(PROBE_TIMEOUT, self.member.list_models()).await {
                Err(elapsed) => Err(elapsed.into()),
                Ok(Err(error)) if Unavailable::find(error.as_ref()).is_some() => Err(error),
                // A server that cannot list its models may run them.
                Ok(_) => Ok(()),
            }
        };
        self.member.availability.wait(probe).await;
    }
}

/// Runs a job to its end. After a transient failure it waits and runs the job again, and takes no other job meanwhile: a model
/// server that fails for one job often fails for the next.
async fn run(context: &WorkerContext, first: Taken) {
    let WorkerContext { jobs, member, attempts, closing, .. } = context;
    let running = (jobs.running.increment(), member.running.increment());
    let _loaded = member.loaded.run(&first.submission.model);
    let mut taken = first;
    loop {
        let (job_id, attempt, spent) = (taken.job_id.clone(), taken.attempt, taken.spent);
        if taken.start_by.is_some_and(|start_by| start_by < Timestamp::now()) {
            let fail = || jobs.miss_deadline(&job_id, attempt);
            until_stored(&job_id, "the outcome of a job", closing, fail).await;
            return;
        }
        // Dropping the backend's future runs the backend's code too, which may panic.
        let ended =
            AssertUnwindSafe(attempt_once(jobs, &member.backend, Chat::new(job_id.clone(), attempt, taken.submission)))
                .catch_unwind()
                .await;
        let panicked = || Some(Ended::Final(Outcome::Failed("the backend panicked when it was dropped".to_owned())));
        let (error, pause) = match ended.unwrap_or_else(|_| panicked()) {
            None => return,
            Some(Ended::Final(outcome)) => {
                member.availability.worked();
                let finish = || jobs.finish(&job_id, attempt, outcome.clone());
                until_stored(&job_id, "the outcome of a job", closing, finish).await;
                return;
            }
            Some(Ended::Transient(error)) => (error, attempts.pause(spent)),
            // If no other daemon has done so, this one queues the job again as soon as it can.
            Some(Ended::LeaseLost) => {
                tracing::warn!(%job_id, attempt, "attempt stopped: the lease of the job is lost");
                drop(running);
                give_up(context, &job_id, attempt, Cost::Free, "the lease of the daemon was lost").await;
                return;
            }
            // The job does not wait for its turn at the worker: the backend may be available for other models only.
            Some(Ended::Unavailable { error, retry_after }) => {
                member.availability.failed(&error, retry_after);
                member.forget_loaded();
                let requeue = || jobs.requeue(&job_id, attempt, Cost::Free, &error);
                until_stored(&job_id, "the queued state of a job", closing, requeue).await;
                return;
            }
        };
        let Some(pause) = pause else {
            let finish = || jobs.finish(&job_id, attempt, Outcome::Failed(error.clone()));
            until_stored(&job_id, "the outcome of a job", closing, finish).await;
            return;
        };
        tracing::warn!(%job_id, attempt, error, pause = %HumanDuration(pause), "attempt failed, retrying");
        tokio::select! {
            biased;
            () = jobs.abandoned(&job_id, attempt) => return,
            () = jobs.lease_lost(&job_id) => {
                drop(running);
                give_up(context, &job_id, attempt, Cost::Counts, &error).await;
                return;
            }
            () = closing.cancelled() => {
                // The attempt has failed, so that it counts, unlike one that the stop interrupts.
                let requeue = || jobs.requeue(&job_id, attempt, Cost::Counts, &error);
                until_stored(&job_id, "the queued state of a job", closing, requeue).await;
                return;
            }
            () = sleep(pause) => {}
        }
        let restart = || jobs.restart(&job_id, attempt, &error);
        let Some(Some(again)) = until_stored(&job_id, "the next attempt of a job", closing, restart).await else {
            return;
        };
        taken = again;
    }
}

/// Queues the job of a lost lease again, unless another daemon has done so.
async fn give_up(context: &WorkerContext, job_id: &JobId, attempt: u64, cost: Cost, error: &str) {
    let requeue = || context.jobs.requeue(job_id, attempt, cost, error);
    until_stored(job_id, "the queued state of a job", &context.closing, requeue).await;
}

/// How an attempt ended.
enum Ended {
    Final(Outcome),
    /// With a transient failure; this is its message.
    Transient(String),
    /// Another daemon may run the job.
    LeaseLost,
    /// The backend was unavailable; this is its message.
    Unavailable {
        error: String,
        retry_after: Option<Duration>,
    },
}

/// Returns `None` if the job has been cancelled.
async fn attempt_once(jobs: &Jobs, backend: &Backend, chat: Chat) -> Option<Ended> {
    let (job_id, attempt) = (chat.job_id().clone(), chat.attempt());
    let call = AssertUnwindSafe(call(backend, chat)).catch_unwind();
    let ended = tokio::select! {
        // A job that was cancelled before it finished stays cancelled.
        biased;
        () = jobs.abandoned(&job_id, attempt) => return None,
        () = jobs.lease_lost(&job_id) => return Some(Ended::LeaseLost),
        ended = call => ended,
    };
    Some(ended.unwrap_or_else(|panic| {
        tracing::error!(%job_id, "the backend panicked");
        Ended::Final(Outcome::Failed(format!("the backend panicked: {}", panic_message(&*panic))))
    }))
}

/// Calls the backend. All of its code runs inside this future, so that a panic anywhere in it is caught.
async fn call(backend: &Backend, chat: Chat) -> Ended {
    match backend.chat.clone().oneshot(chat).await {
        Ok(response) => Ended::Final(Outcome::Done(Output { result: response.result, artifacts: response.artifacts })),
        Err(error) => {
            let text = failure(error.as_ref());
            match Unavailable::find(error.as_ref()) {
                Some(unavailable) => Ended::Unavailable { error: text, retry_after: unavailable.asked_pause() },
                None if is_transient(error.as_ref()) => Ended::Transient(text),
                None => Ended::Final(Outcome::Failed(text)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
