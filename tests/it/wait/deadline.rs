//! Deadlines.

use std::time::Duration;

use foreman_client::wait::WaitLayerBuilder;
use foreman_client::{JobState, Notifier, WaitLayer};

use crate::support::{
    MockApi, ScriptedDaemon, WebhookHarness, call_wait, exact_polls, polling_wait, polling_wait_with, request, seconds,
    spawn_wait,
};

fn ten_seconds(layer: WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi> {
    layer.deadline(seconds(10))
}

/// Responds to the polls before the deadline.
async fn respond_until_deadline(daemon: &mut ScriptedDaemon) {
    for at in [0, 1, 3, 7] {
        let poll = daemon.next_get().await;
        assert_eq!(poll.at, seconds(at));
        poll.respond_state("running");
    }
}

#[tokio::test(start_paused = true)]
async fn final_poll_finds_finished_job() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    respond_until_deadline(&mut daemon).await;
    let last = daemon.next_get().await;
    assert_eq!(last.at, seconds(10));
    last.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_error_has_job_state_and_polls() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    respond_until_deadline(&mut daemon).await;
    daemon.next_get().await.respond_state("running");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_timeout() && error.may_be_running() && !error.is_safe_to_resubmit());
    assert_eq!((error.elapsed(), error.polls()), (Some(seconds(10)), Some(5)));
    assert_eq!((error.job_id().unwrap().as_str(), error.last_state()), ("7", Some(&JobState::Running)));
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));
    assert_eq!(
        error.to_string(),
        "job not finished within the deadline of 10s (job 7, last state running, 5 polls in 10s)"
    );
    daemon.quiet_for(seconds(1_000)).await;

    // The job continues, and another wait can attach.
    let waiting = spawn_wait(&wait, &request);
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn final_poll_times_out() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    respond_until_deadline(&mut daemon).await;
    let _last = daemon.next_get().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline());
    assert_eq!((daemon.elapsed(), error.elapsed()), (seconds(15), Some(seconds(15))));
}

#[tokio::test(start_paused = true)]
async fn failed_final_poll_is_the_cause() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    respond_until_deadline(&mut daemon).await;
    daemon.next_get().await.respond(500, r#"{"error":"no disk"}"#);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && daemon.elapsed() == seconds(10));
    assert!(std::error::Error::source(&error).unwrap().to_string().ends_with("daemon returned 500: no disk"));
}

#[tokio::test(start_paused = true)]
async fn event_during_final_poll_completes_wait() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, ten_seconds);
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    respond_until_deadline(&mut harness.daemon).await;
    let _last = harness.daemon.next_get().await;
    harness.daemon.quiet_for(seconds(4)).await;
    harness.event(&url, "7", "done").await;
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
}

/// A long poll returns nothing new until the state changes.
#[tokio::test(start_paused = true)]
async fn final_poll_is_not_long() {
    let long_polls = |layer: WaitLayerBuilder<MockApi>| {
        ten_seconds(layer).poll_policy(exact_polls().long_poll(seconds(20)).build().unwrap())
    };
    let (wait, mut daemon) = polling_wait_with(long_polls);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let long = daemon.next_get().await;
    assert_eq!((long.at, long.header("prefer")), (seconds(0), Some("wait=20")));
    let last = daemon.next_get().await;
    assert_eq!((last.at, last.header("prefer")), (seconds(10), None));
    last.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_while_sending_is_maybe_submitted() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    let _post = daemon.next_post().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(daemon.elapsed(), seconds(10));
    assert!(error.is_deadline() && error.is_maybe_submitted() && error.may_be_running());
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));

    // A clone without a deadline fails too, since no other wait is sending.
    let (patient, mut daemon) = polling_wait();
    let error = spawn_wait(&patient, &request).await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(100)).await;
}

#[tokio::test(start_paused = true)]
async fn deadline_while_sending_keeps_events() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, ten_seconds);
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let url = harness.daemon.next_post().await.callback().unwrap();
    // The POST is dropped and its connection breaks, which opens the window of a lost response.
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    let waiting = spawn_wait(&harness.wait, &request);
    harness.daemon.quiet_for(seconds(5)).await;
    harness.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_before_sending_is_unsent() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let request = request();
    // The first wait has the only permit and fails before the second can send.
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    let post = daemon.next_post().await;
    daemon.allow(0);
    daemon.quiet_for(seconds(5)).await;
    post.respond(429, "");
    assert!(one.await.unwrap().unwrap_err().is_safe_to_resubmit());
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && daemon.elapsed() == seconds(10));
    assert!(!error.may_be_running() && !error.is_maybe_submitted(), "{error:?}");

    daemon.allow(100);
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_while_clone_sends_ends_one_wait() {
    let (patient, mut daemon) = polling_wait();
    let (hasty, _daemon) = polling_wait_with(ten_seconds);
    let request = request();
    let one = spawn_wait(&patient, &request);
    let post = daemon.next_post().await;
    let other = spawn_wait(&hasty, &request);
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_maybe_submitted());
    post.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(one.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_lost_response_window() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| layer.deadline(seconds(4)));
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_maybe_submitted() && harness.daemon.elapsed() == seconds(4));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("connection to the daemon lost"));
}

#[tokio::test(start_paused = true)]
async fn deadline_starts_at_call() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = call_wait(&wait, request()).await;
    daemon.quiet_for(seconds(6)).await;
    let waiting = tokio::spawn(waiting);
    let _post = daemon.next_post().await;
    assert!(waiting.await.unwrap().unwrap_err().is_deadline());
    assert_eq!(daemon.elapsed(), seconds(10));
}

#[test]
fn zero_deadline_is_invalid() {
    let (api, _daemon) = ScriptedDaemon::new();
    let error = WaitLayer::builder(api.clone()).deadline(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "invalid deadline: must not be zero");
    assert!(WaitLayer::builder(api).deadline(Duration::MAX).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn maximum_deadline_never_expires() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.deadline(Duration::MAX).failure_budget(Duration::MAX));
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    daemon.next_get().await.respond(500, "");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}
