use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::attempts::Attempts;
use super::backend::{Backend, Chat, is_transient};
use super::failure::failure;
use super::jobs::Jobs;
use super::store::{Outcome, Output, Taken};
use super::until_stored::{STORE_RETRY, until_stored};

/// Takes queued jobs and runs them one at a time, until `closing` is cancelled.
pub(super) async fn work(jobs: Arc<Jobs>, backend: Backend, attempts: Attempts, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let mut queued = pin!(jobs.work.notified());
        // Registered before the queue is read: a job that is queued in between wakes this worker, and each of two such jobs
        // wakes a worker of its own.
        queued.as_mut().enable();
        match jobs.take().await {
            Ok(Some(taken)) => run(&jobs, &backend, attempts, taken, &closing).await,
            Ok(None) => tokio::select! {
                () = queued => {}
                () = closing.cancelled() => {}
            },
            Err(error) => {
                tracing::error!(%error, "cannot take a job from the store");
                tokio::select! {
                    () = sleep(STORE_RETRY) => {}
                    () = closing.cancelled() => {}
                }
            }
        }
    }
}

/// Runs a job to its end. After a transient failure it waits and runs the job again, and takes no other job meanwhile: a model
/// server that is down for one job is down for the next.
async fn run(jobs: &Jobs, backend: &Backend, attempts: Attempts, first: Taken, closing: &CancellationToken) {
    let _running = jobs.running.increment();
    let mut taken = first;
    loop {
        let (job_id, attempt) = (taken.job_id.clone(), taken.attempt);
        // Dropping the backend's future runs the backend's code too, which may panic.
        let ended = AssertUnwindSafe(attempt_once(jobs, backend, Chat::new(job_id.clone(), attempt, taken.submission)))
            .catch_unwind()
            .await;
        let panicked = || Some(Ended::Final(Outcome::Failed("the backend panicked when it was dropped".to_owned())));
        let (outcome, pause) = match ended.unwrap_or_else(|_| panicked()) {
            None => return,
            Some(Ended::Final(outcome)) => (outcome, None),
            Some(Ended::Transient(error)) => (Outcome::Failed(error), attempts.pause(attempt)),
        };
        let Some(pause) = pause else {
            let finish = || jobs.finish(&job_id, attempt, outcome.clone());
            until_stored(&job_id, "the outcome of a job", closing, finish).await;
            return;
        };
        tracing::warn!(%job_id, attempt, ?outcome, ?pause, "attempt failed, retrying");
        tokio::select! {
            biased;
            () = jobs.abandoned(&job_id, attempt) => return,
            () = closing.cancelled() => return,
            () = sleep(pause) => {}
        }
        let restart = || jobs.restart(&job_id, attempt);
        let Some(Some(again)) = until_stored(&job_id, "the next attempt of a job", closing, restart).await else {
            return;
        };
        taken = again;
    }
}

/// How an attempt ended.
enum Ended {
    Final(Outcome),
    /// With a transient failure; this is its message.
    Transient(String),
}

/// Returns `None` if the job has been cancelled.
async fn attempt_once(jobs: &Jobs, backend: &Backend, chat: Chat) -> Option<Ended> {
    let (job_id, attempt) = (chat.job_id().clone(), chat.attempt());
    let call = AssertUnwindSafe(call(backend, chat)).catch_unwind();
    let ended = tokio::select! {
        // A job that was cancelled before it finished stays cancelled.
        biased;
        () = jobs.abandoned(&job_id, attempt) => return None,
        ended = call => ended,
    };
    Some(ended.unwrap_or_else(|panic| {
        tracing::error!(%job_id, "the backend panicked");
        Ended::Final(Outcome::Failed(format!("the backend panicked: {}", message(&*panic))))
    }))
}

/// Calls the backend. All of its code runs inside this future, so that a panic anywhere in it is caught.
async fn call(backend: &Backend, chat: Chat) -> Ended {
    match backend.chat.clone().oneshot(chat).await {
        Ok(response) => Ended::Final(Outcome::Done(Output { result: response.result, artifacts: response.artifacts })),
        Err(error) if is_transient(error.as_ref()) => Ended::Transient(failure(error.as_ref())),
        Err(error) => Ended::Final(Outcome::Failed(failure(error.as_ref()))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
