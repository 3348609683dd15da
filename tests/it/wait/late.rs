//! Waits that begin or are polled long after their deadline.

use std::task::Poll;

use foreman_client::WaitLayer;
use foreman_client::retry::{Reattach, RetrySubmission};
use http::Response;
use tokio_test::task;
use tower::{Layer as _, Service as _, ServiceBuilder, ServiceExt as _};

use crate::support::{
    ScriptedDaemon, bounded_paused, call_wait, millis, polling_wait, polling_wait_with, request, seconds, spawn_wait,
};

#[tokio::test(start_paused = true)]
async fn job_is_polled_once_more_however_late_the_wait_is() {
    for late in [1, 4, 6, 60] {
        let (wait, mut daemon) = polling_wait();
        let request = request().with_deadline(seconds(10));
        let waiting = spawn_wait(&wait, &request);
        daemon.next_post().await.accept("7");
        daemon.next_get().await.respond_state("running");
        waiting.abort();
        tokio::time::sleep(seconds(10 + late)).await;
        // A wait that starts after the deadline.
        let waiting = spawn_wait(&wait, &request);
        daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok(), "{late}");

        // A wait whose caller was busy elsewhere.
        let mut waiting = task::spawn(call_wait(&wait, request.renew()).await);
        assert!(waiting.poll().is_pending());
        daemon.next_post().await.accept("8");
        assert!(waiting.poll().is_pending());
        daemon.next_get().await.respond_state("running");
        assert!(waiting.poll().is_pending());
        tokio::time::sleep(seconds(10 + late)).await;
        assert!(waiting.poll().is_pending(), "{late}");
        daemon.next_get().await.respond_state("done");
        assert!(matches!(waiting.poll(), Poll::Ready(Ok(_))), "{late}");
        daemon.quiet_for(seconds(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_deadline() {
    let (wait, mut daemon) = polling_wait();
    let refused = spawn_wait(&wait, &request());
    daemon
        .next_post()
        .await
        .respond_with(Response::builder().status(429).header("retry-after", 2).body("".into()).unwrap());
    assert!(refused.await.unwrap().is_err());
    daemon.allow(1);
    let mut waiting = task::spawn(call_wait(&wait, request().with_deadline(seconds(10))).await);
    assert!(waiting.poll().is_pending());
    // The pause is over, and the service is not ready.
    tokio::time::sleep(seconds(3)).await;
    daemon.allow(0);
    assert!(waiting.poll().is_pending());
    tokio::time::sleep(seconds(60)).await;
    daemon.allow(10);
    let Poll::Ready(Err(error)) = waiting.poll() else { panic!("still pending") };
    assert!(error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    daemon.quiet_for(seconds(100)).await;
}

/// A retry policy inside pauses, and the caller comes back after the deadline.
#[tokio::test(start_paused = true)]
async fn retry_inside_sends_nothing_after_the_deadline() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let retry = ServiceBuilder::new().retry(RetrySubmission::default()).service(api.clone());
    let mut wait = WaitLayer::new(api).layer(retry);
    let request = request().with_deadline(seconds(10));
    let mut waiting = task::spawn(wait.ready().await.unwrap().call(request));
    assert!(waiting.poll().is_pending());
    daemon.next_post().await.respond(429, "");
    assert!(waiting.poll().is_pending());
    tokio::time::sleep(seconds(20)).await;
    let Poll::Ready(Err(error)) = waiting.poll() else { panic!("still pending") };
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    daemon.quiet_for(seconds(100)).await;
}

/// A daemon that does not respond makes no caller wait much longer than asked.
#[tokio::test(start_paused = true)]
async fn final_poll_takes_a_tenth_of_the_deadline_up_to_a_second() {
    for (deadline, ends) in [(200, 300), (5_000, 5_500), (30_000, 31_000), (60_000, 61_000)] {
        let (wait, mut daemon) = polling_wait();
        let waiting = spawn_wait(&wait, &request().with_deadline(millis(deadline)));
        daemon.next_post().await.accept("7");
        // It takes all polls and responds to none.
        let mut polls = Vec::new();
        while !waiting.is_finished() {
            polls.extend(daemon.next_now().await);
            daemon.settle().await;
            tokio::time::advance(millis(10)).await;
            daemon.settle().await;
        }
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_deadline(), "{error:?}");
        let late = daemon.elapsed() - millis(ends);
        assert!(late <= millis(20), "{deadline} ms: {late:?} too late");
        // What happened is not hidden.
        assert!(error.elapsed().is_some() && error.polls().is_some());
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.to_string().contains("no complete response within"), "{source}");
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_before_the_response_says_so() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request().with_deadline(seconds(2)));
    let _post = daemon.next_post().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.may_be_running() && error.job_id().is_none());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the outcome of the submission is not known; a job may be running");
}

/// The final poll takes longer than the timeout above the wait.
#[tokio::test(start_paused = true)]
async fn reattach_does_not_call_again_after_the_deadline() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.final_poll_timeout(seconds(5)));
    let stack = ServiceBuilder::new().retry(Reattach::default()).timeout(seconds(2)).service(wait);
    let called = tokio::spawn(bounded_paused(stack.oneshot(request().with_deadline(seconds(1)))));
    daemon.next_post().await.accept("7");
    let mut polls = Vec::new();
    while !called.is_finished() {
        polls.extend(daemon.next_now().await);
        daemon.settle().await;
        tokio::time::advance(millis(100)).await;
    }
    let times: Vec<_> = polls.iter().map(|poll| poll.at).collect();
    assert!(times.iter().all(|at| *at < seconds(2)), "{times:?}");
}
