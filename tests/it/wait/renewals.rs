//! A failed job that runs again: errors and progress are of the job that runs.

use foreman_client::WaitLayer;
use foreman_client::retry::Reattach;
use foreman_client::wait::{JobErrorsLayer, Progress, Update};
use futures_util::TryStreamExt as _;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

use crate::support::{ScriptedDaemon, bounded_paused, job_id, millis, polling_wait, request, seconds};

fn renewing() -> Reattach {
    Reattach::builder().renew_failed(3, |_| true).build().unwrap()
}

/// Job 7 fails, and runs again as job 8.
async fn fail_and_renew(daemon: &mut ScriptedDaemon) {
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("failed");
    daemon.next_post().await.accept("8");
}

#[tokio::test(start_paused = true)]
async fn timeout_over_renewal_names_the_job_that_runs() {
    let (wait, mut daemon) = polling_wait();
    let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).timeout(seconds(60)).retry(renewing()).service(wait);
    let request = request();
    let failed = request.submission();
    let called = tokio::spawn(bounded_paused(stack.oneshot(request)));
    fail_and_renew(&mut daemon).await;
    while !called.is_finished() {
        if let Some(poll) = daemon.next_now().await {
            poll.respond_state("running");
        }
        daemon.settle().await;
        tokio::time::advance(seconds(1)).await;
    }
    let error = called.await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.may_be_running(), "{error:?}");
    assert_eq!((error.job_id(), error.last_state()), (Some(&job_id("8")), Some(&"running".into())));
    assert!(error.daemon().is_some());
    assert_ne!(error.idempotency_key(), Some(&failed.idempotency_key()));
}

#[tokio::test(start_paused = true)]
async fn progress_follows_renewed_job() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let stack = ServiceBuilder::new().retry(renewing()).service(wait);
    let mut progress = Box::pin(Progress::new(&request.submission(), stack.oneshot(request)));
    let updates = async {
        assert_eq!(progress.as_mut().accepted().await.unwrap(), job_id("7"));
        let mut texts = Vec::new();
        while let Some(update) = progress.try_next().await.unwrap() {
            texts.push(match update {
                Update::State(change) => change.state.to_string(),
                Update::Finished(result) => format!("result of {}", result.job_id()),
            });
        }
        assert_eq!(progress.as_mut().accepted().await.unwrap(), job_id("8"));
        texts
    };
    let respond = async {
        fail_and_renew(&mut daemon).await;
        for state in ["queued", "done"] {
            daemon.next_get().await.respond_state(state);
        }
    };
    let (updates, ()) = bounded_paused(async { tokio::join!(updates, respond) }).await;
    assert_eq!(updates, ["failed", "queued", "done", "result of 8"]);
}

#[tokio::test(start_paused = true)]
async fn renewed_job_is_polled_by_its_own_age() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let wait = WaitLayer::builder(api.clone()).build().unwrap().layer(api);
    let called = tokio::spawn(ServiceBuilder::new().retry(renewing()).service(wait).oneshot(request()));
    daemon.next_post().await.accept("7");
    loop {
        let poll = daemon.next_get().await;
        if poll.at > seconds(80) {
            poll.respond_state("failed");
            break;
        }
        poll.respond_state("running");
    }
    let post = daemon.next_post().await;
    let start = daemon.elapsed();
    post.accept("8");
    for _ in 0..4 {
        let poll = daemon.next_get().await;
        assert!(poll.at < start + millis(200), "{:?}", poll.at - start);
        poll.respond_state("running");
    }
    called.abort();
}

/// Otherwise the conversation ran once for each, and an error named the last of them.
#[tokio::test(start_paused = true)]
async fn stacks_that_renew_one_request_share_the_renewed_job() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let calls = [seconds(1), seconds(2)].map(|pause| {
        let renewing = Reattach::builder().renew_failed(1, |_| true).jitter(0.0).backoff(pause, seconds(9));
        let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).retry(renewing.build().unwrap());
        tokio::spawn(bounded_paused(stack.service(wait.clone()).oneshot(request.clone())))
    });
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("failed");
    daemon.skip_to_post().await.accept("8");
    while calls.iter().any(|call| !call.is_finished()) {
        let poll = daemon.next_get().await;
        assert_eq!(poll.job(), "8");
        let state = if poll.at > seconds(10) { "done" } else { "running" };
        poll.respond_state(state);
        daemon.settle().await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().job_id(), &job_id("8"));
    }
    assert_eq!(wait.stats().submitted, 2);
}

/// The slower stack renews when the faster has the result of the renewed job, and has dropped it.
#[tokio::test(start_paused = true)]
async fn late_stack_has_the_result_of_the_renewed_job() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let calls = [seconds(1), seconds(60)].map(|pause| {
        let renewing = Reattach::builder().renew_failed(1, |_| true).jitter(0.0).backoff(pause, seconds(90));
        let stack = ServiceBuilder::new().retry(renewing.build().unwrap());
        tokio::spawn(bounded_paused(stack.service(wait.clone()).oneshot(request.clone())))
    });
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("failed");
    daemon.skip_to_post().await.accept("8");
    daemon.next_get().await.respond_state("done");
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().job_id(), &job_id("8"));
    }
    assert_eq!(wait.stats().submitted, 2);
}
