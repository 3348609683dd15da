use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::backend::{Backend, Chat, failure};
use super::jobs::Jobs;
use super::store::Outcome;

/// Takes queued jobs one after the other and runs them, until the daemon closes.
pub(super) async fn work(jobs: Arc<Jobs>, backend: Backend, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let mut more = pin!(jobs.work.notified());
        // Listens before it looks: a job that comes in between wakes it, and each of two jobs wakes a worker of its own.
        more.as_mut().enable();
        match jobs.take() {
            Some(taken) => {
                let (job_id, attempt) = (taken.chat.job_id().clone(), taken.chat.attempt());
                // Dropping a run is the backend's doing as well, and can panic as well.
                if AssertUnwindSafe(run(&jobs, &backend, taken.chat)).catch_unwind().await.is_err() {
                    jobs.finish(
                        &job_id,
                        attempt,
                        Outcome::Failed("the backend panicked when it was dropped".to_owned()),
                    );
                }
            }
            None => tokio::select! {
                () = more => {}
                () = closing.cancelled() => {}
            },
        }
    }
}

async fn run(jobs: &Jobs, backend: &Backend, chat: Chat) {
    let (job_id, attempt) = (chat.job_id().clone(), chat.attempt());
    jobs.counters.executions.add();
    let run = AssertUnwindSafe(answer(backend, chat)).catch_unwind();
    let outcome = tokio::select! {
        // A job that was cancelled and has finished by now has been cancelled.
        biased;
        () = jobs.abandoned(&job_id, attempt) => return,
        outcome = run => outcome,
    };
    let outcome = outcome.unwrap_or_else(|panic| {
        tracing::error!(%job_id, "the backend panicked");
        Outcome::Failed(format!("the backend panicked: {}", said(&*panic)))
    });
    jobs.finish(&job_id, attempt, outcome);
}

/// Everything of the backend's happens in here, so that a panic anywhere in it is caught.
async fn answer(backend: &Backend, chat: Chat) -> Outcome {
    match backend.chat.clone().oneshot(chat).await {
        Ok(answer) => Outcome::Done(answer),
        Err(error) => Outcome::Failed(failure(error.as_ref())),
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
