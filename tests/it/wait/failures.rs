//! Polls that fail.

use foreman_client::source::PollPolicyBuilder;
use foreman_client::wait::WaitLayerBuilder;
use foreman_client::{JobState, Notifier, WaitLayer};
use tower::Layer;

use crate::support::{
    MockApi, ReceivedRequest, ScriptedDaemon, WebhookHarness, exact_polls, polling_wait_with, request, seconds,
    spawn_attach, spawn_wait,
};

/// A poll every second.
fn each_second() -> PollPolicyBuilder {
    exact_polls().max_interval(seconds(1))
}

/// A failure budget of ten seconds.
fn ten_seconds(layer: WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi> {
    layer.poll_policy(each_second().build().unwrap()).failure_budget(seconds(10))
}

#[tokio::test(start_paused = true)]
async fn failures_beyond_budget_end_wait() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let failures: [fn(ReceivedRequest); 4] = [
        ReceivedRequest::reset,
        |request| request.respond(500, r#"{"error":"no disk"}"#),
        |request| request.respond(200, "nonsense"),
        |request| request.fail(std::io::ErrorKind::ConnectionRefused),
    ];
    for failure in failures.iter().cycle().take(11) {
        failure(daemon.next_get().await);
    }
    let error = waiting.await.unwrap().unwrap_err();
    // The failures began at 1 s.
    assert_eq!(daemon.elapsed(), seconds(11));
    assert!(error.to_string().starts_with("GET http://daemon.test/jobs/7: "), "{error}");
    assert!(error.may_be_running() && !error.is_safe_to_resubmit() && !error.is_maybe_submitted());
    assert_eq!((error.job_id().unwrap().as_str(), error.last_state()), ("7", Some(&JobState::Running)));
    assert_eq!((error.elapsed(), error.polls()), (Some(seconds(11)), Some(12)));
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));
}

#[tokio::test(start_paused = true)]
async fn success_resets_budget() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    for nth in 0..95 {
        let poll = daemon.next_get().await;
        if nth % 10 == 9 { poll.respond_state("running") } else { poll.respond(502, "") }
    }
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!((wait.stats().poll_failures, wait.stats().polls), (86, 10));
}

#[tokio::test(start_paused = true)]
async fn event_resets_budget() {
    let mut harness = WebhookHarness::new(Notifier::new(), false, ten_seconds);
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    for nth in 0..8 {
        harness.daemon.next_get().await.reset();
        if nth == 7 {
            harness.daemon.settle().await;
            harness.event(&url, "7", "running").await;
        }
    }
    // The event triggers a poll at 7 s. Webhooks work, but a poll that failed is repeated soon.
    harness.daemon.next_get().await.reset();
    let next = harness.daemon.next_get().await;
    assert_eq!(next.at, seconds(8));
    next.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_end_wait_at_once() {
    for status in [400, 401, 403, 405, 422] {
        let (wait, mut daemon) = polling_wait_with(ten_seconds);
        let waiting = spawn_wait(&wait, &request());
        daemon.next_post().await.accept("7");
        daemon.next_get().await.respond(status, "");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!((error.status().unwrap().as_u16(), daemon.elapsed()), (status, seconds(0)));
        assert!(error.may_be_running() && !error.is_safe_to_resubmit());
        assert_eq!(error.job_id().unwrap().as_str(), "7");
    }
}

#[tokio::test(start_paused = true)]
async fn oversized_response_ends_wait() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let api = api.max_response_size(50).unwrap();
    let wait = WaitLayer::new(api.clone()).layer(api);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond(200, "x".repeat(51));
    assert!(waiting.await.unwrap().unwrap_err().is_bad_response());
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_polled_again() {
    for status in [302, 408, 409, 425, 429, 500, 502, 503, 504] {
        let (wait, mut daemon) = polling_wait_with(ten_seconds);
        let waiting = spawn_wait(&wait, &request());
        daemon.next_post().await.accept("7");
        daemon.next_get().await.respond(status, "");
        daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn status_404_within_grace_is_polled_again() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.poll_policy(each_second().build().unwrap()));
    let waiting = spawn_wait(&wait, &request());
    let post = daemon.next_post().await;
    // The grace starts with the response.
    daemon.quiet_for(seconds(20)).await;
    post.accept("7");
    for _ in 0..5 {
        daemon.next_get().await.respond(404, "");
    }
    daemon.next_get().await.respond_state("running");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn status_404_after_grace_ends_wait() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.poll_policy(each_second().build().unwrap()));
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    for _ in 0..6 {
        daemon.next_get().await.respond(404, "");
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(daemon.elapsed(), seconds(5));
    assert!(error.is_not_found() && !error.may_be_running());
    assert_eq!(error.job_id().unwrap().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn unknown_id_has_no_grace() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_attach(&wait, "7");
    daemon.next_get().await.respond(404, "");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_not_found() && daemon.elapsed() == seconds(0));
    assert_eq!((error.job_id().unwrap().as_str(), error.idempotency_key()), ("7", None));
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_poll_is_honored() {
    let (wait, mut daemon) = polling_wait_with(ten_seconds);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    let busy = http::Response::builder().status(503).header("retry-after", "9").body("".into());
    daemon.next_get().await.respond_with(busy.unwrap());
    let poll = daemon.next_get().await;
    assert_eq!(poll.at, seconds(9));
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}
