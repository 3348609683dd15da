use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::attempts::Attempts;
use super::backend::{Backend, Chat, is_transient};
use super::failure::failure;
use super::faults::Faults;
use super::jobs::Jobs;
use super::store::{Outcome, Output, StoreError, Taken};

/// How long a worker leaves a store alone that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes queued jobs one after the other and runs them, until the daemon closes.
pub(super) async fn work(
    jobs: Arc<Jobs>,
    backend: Backend,
    attempts: Attempts,
    faults: Option<Faults>,
    closing: CancellationToken,
) {
    while !closing.is_cancelled() {
        let mut more = pin!(jobs.work.notified());
        // Listens before it looks: a job that comes in between wakes it, and each of two jobs wakes a worker of its own.
        more.as_mut().enable();
        match jobs.take().await {
            Ok(Some(taken)) => job(&jobs, &backend, attempts, faults.as_ref(), taken, &closing).await,
            Ok(None) => tokio::select! {
                () = more => {}
                () = closing.cancelled() => {}
            },
            Err(error) => {
                tracing::error!(%error, "no job can be taken");
                tokio::select! {
                    () = sleep(PAUSE) => {}
                    () = closing.cancelled() => {}
                }
            }
        }
    }
}

/// Runs a job until it has ended: again, if a run failed by what may go away, and then this worker is not free meanwhile. The
/// model server that is down for one job is down for the next.
async fn job(
    jobs: &Jobs,
    backend: &Backend,
    attempts: Attempts,
    faults: Option<&Faults>,
    first: Taken,
    closing: &CancellationToken,
) {
    let _running = jobs.running.increment();
    let mut taken = first;
    loop {
        let (job_id, attempt) = (taken.job_id.clone(), taken.attempt);
        if let Some(faults) = faults
            && !faults.begin(jobs, &job_id, attempt).await
        {
            return;
        }
        jobs.counters.executions.add();
        // Dropping a run is the backend's doing as well, and can panic as well.
        let run = AssertUnwindSafe(run(jobs, backend, Chat::new(job_id.clone(), attempt, taken.submission)))
            .catch_unwind()
            .await;
        let dropped = || Some(Run::Ended(Outcome::Failed("the backend panicked when it was dropped".to_owned())));
        let (outcome, pause) = match run.unwrap_or_else(|_| dropped()) {
            None => return,
            Some(Run::Ended(outcome)) => (outcome, None),
            Some(Run::Broken(error)) => (Outcome::Failed(error), attempts.pause(attempt)),
        };
        let Some(pause) = pause else {
            kept(closing, || jobs.finish(&job_id, attempt, outcome.clone())).await;
            return;
        };
        tracing::warn!(%job_id, attempt, ?outcome, ?pause, "an attempt failed, and the job is run again");
        tokio::select! {
            biased;
            () = jobs.abandoned(&job_id, attempt) => return,
            () = closing.cancelled() => return,
            () = sleep(pause) => {}
        }
        let again = kept(closing, || jobs.restart(&job_id, attempt)).await;
        let Some(Some(again)) = again else { return };
        taken = again;
    }
}

/// Asks the store until it has done it: a result is not lost because a disk is full. A daemon that closes asks once more.
async fn kept<T, F: Future<Output = Result<T, StoreError>>>(
    closing: &CancellationToken,
    ask: impl Fn() -> F,
) -> Option<T> {
    loop {
        let last = closing.is_cancelled();
        match ask().await {
            Ok(done) => return Some(done),
            Err(error) => tracing::error!(error = %failure(&error), "what came of a job cannot be kept"),
        }
        if last {
            return None;
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = closing.cancelled() => {}
        }
    }
}

/// What came of one run.
enum Run {
    Ended(Outcome),
    /// It failed by what may go away.
    Broken(String),
}

/// `None` if nobody wants it any more.
async fn run(jobs: &Jobs, backend: &Backend, chat: Chat) -> Option<Run> {
    let (job_id, attempt) = (chat.job_id().clone(), chat.attempt());
    let run = AssertUnwindSafe(answer(backend, chat)).catch_unwind();
    let run = tokio::select! {
        // A job that was cancelled and has finished by now has been cancelled.
        biased;
        () = jobs.abandoned(&job_id, attempt) => return None,
        run = run => run,
    };
    Some(run.unwrap_or_else(|panic| {
        tracing::error!(%job_id, "the backend panicked");
        Run::Ended(Outcome::Failed(format!("the backend panicked: {}", said(&*panic))))
    }))
}

/// Everything of the backend's happens in here, so that a panic anywhere in it is caught.
async fn answer(backend: &Backend, chat: Chat) -> Run {
    match backend.chat.clone().oneshot(chat).await {
        Ok(answer) => Run::Ended(Outcome::Done(Output { result: answer.result, artifacts: answer.artifacts })),
        Err(error) if is_transient(error.as_ref()) => Run::Broken(failure(error.as_ref())),
        Err(error) => Run::Ended(Outcome::Failed(failure(error.as_ref()))),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
