//! Deadlines.

use std::time::Duration;

use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::wait::{Wait, WaitLayerBuilder};
use foreman_client::{Error, JobState, Notifier, WaitLayer};
use http::Response;
use tower::retry::Retry;
use tower::{ServiceBuilder, ServiceExt};

use crate::support::{
    MockApi, ReceivedRequest, ScriptedDaemon, WebhookHarness, bounded_paused, call_wait, exact_polls, polling_wait,
    polling_wait_with, request, seconds, spawn_attach, spawn_wait,
};

/// A wait by polling, around a retry of the submission.
fn retried_wait_with(
    configure: impl FnOnce(WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi>,
) -> (Wait<Retry<RetrySubmission, MockApi>, MockApi>, ScriptedDaemon) {
    let (api, daemon) = ScriptedDaemon::new();
    let waits = configure(WaitLayer::builder(api.clone())).build().unwrap();
    (ServiceBuilder::new().layer(waits).retry(RetrySubmission::default()).service(api), daemon)
}

fn ten_seconds(layer: WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi> {
    layer.deadline(seconds(10))
}

/// Responds to the polls before the deadline.
async fn respond_until_deadline(daemon: &mut ScriptedDaemon) {
    for at in [0, 1, 2, 4, 8] {
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
    assert_eq!((error.elapsed(), error.polls()), (Some(seconds(10)), Some(6)));
    assert_eq!((error.job_id().unwrap().as_str(), error.last_state()), ("7", Some(&JobState::Running)));
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));
    assert_eq!(
        error.to_string(),
        "job not finished within the deadline of 10 s (job 7, last state running, 6 polls in 10 s)"
    );
    daemon.quiet_for(seconds(1_000)).await;

    // The job continues, and a wait by its id has a deadline of its own. A clone has what is left: one poll.
    let waiting = spawn_attach(&wait, "7");
    daemon.next_get().await.respond_state("running");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    let clone = spawn_wait(&wait, &request);
    daemon.next_get().await.respond_state("running");
    assert!(clone.await.unwrap().unwrap_err().is_deadline());
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
    assert_eq!((daemon.elapsed(), error.elapsed()), (seconds(11), Some(seconds(11))));
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
    let final_poll = |layer: WaitLayerBuilder<MockApi>| ten_seconds(layer).final_poll_timeout(seconds(5));
    let mut harness = WebhookHarness::new(Notifier::new(), true, final_poll);
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
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));

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
    // The POST is dropped and its connection breaks. An event still names the job.
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    harness.event(&url, "7", "done").await;
    assert_eq!(request.submission().job_id().unwrap().as_str(), "7");
    let waiting = spawn_attach(&harness.wait, "7");
    harness.daemon.next_get().await.respond_state("done");
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

    // The time of this submission is over. A new one has its own.
    daemon.allow(100);
    let error = spawn_wait(&wait, &request).await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    let waiting = spawn_wait(&wait, &request.renew());
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

/// Asked for 5 s, a caller once waited for 55 s: each retry started the deadline anew.
#[tokio::test(start_paused = true)]
async fn deadline_counts_from_first_call_over_retries() {
    for on_request in [false, true] {
        let (wait, mut daemon) = polling_wait_with(|layer| if on_request { layer } else { layer.deadline(seconds(5)) });
        let request = request().with_deadline(on_request.then(|| seconds(5)));
        let stack = ServiceBuilder::new().retry(Reattach::default()).timeout(seconds(2)).service(wait.clone());
        let waiting = tokio::spawn(bounded_paused(stack.oneshot(request)));
        daemon.next_post().await.accept("7");
        let respond = async {
            loop {
                daemon.next_get().await.respond_state("running");
            }
        };
        let error = tokio::select! {
            result = waiting => Error::from_boxed(result.unwrap().unwrap_err()),
            () = respond => unreachable!(),
        };
        assert!(error.is_deadline() && error.job_id().is_some(), "{error:?}");
        assert_eq!(daemon.elapsed(), seconds(5), "on the request: {on_request}");
    }
}

/// `Retry-After: 30` with a deadline of 5 s, and a job that runs.
#[tokio::test(start_paused = true)]
async fn pause_of_retry_ends_at_deadline_with_last_poll() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.deadline(seconds(5)).failure_budget(seconds(1)));
    let stack = ServiceBuilder::new().retry(Reattach::default()).service(wait);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request())));
    daemon.next_post().await.accept("7");
    for retry_after in [2, 30] {
        let response = Response::builder().status(503).header("retry-after", retry_after).body("".into()).unwrap();
        daemon.next_get().await.respond_with(response);
    }
    let last = daemon.next_get().await;
    assert_eq!(last.at, seconds(5));
    last.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn deadline_does_not_hide_refusal_of_submission() {
    for (status, retry_after) in [(429, 30), (503, 30), (503, 2)] {
        let (wait, mut daemon) = retried_wait_with(|layer| layer.deadline(seconds(5)));
        let waiting = tokio::spawn(bounded_paused(wait.oneshot(request())));
        let refuse = |post: ReceivedRequest| {
            let response = Response::builder().status(status).header("retry-after", retry_after);
            post.respond_with(response.body("".into()).unwrap());
        };
        refuse(daemon.next_post().await);
        if retry_after < 5 {
            refuse(daemon.next_post().await);
            refuse(daemon.next_post().await);
        }
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.status().unwrap().as_u16(), status, "{error:?}");
        assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
        assert!(daemon.elapsed() <= seconds(5), "{:?}", daemon.elapsed());
    }
}

/// A retry policy that knows nothing of the deadline.
#[tokio::test(start_paused = true)]
async fn deadline_in_pause_of_policy_returns_refusal() {
    let (wait, mut daemon) = retried_wait_with(|layer| layer);
    let stack = ServiceBuilder::new().timeout(seconds(20)).service(wait);
    let request = request();
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request.clone())));
    let response = Response::builder().status(429).header("retry-after", 30).body("".into()).unwrap();
    daemon.next_post().await.respond_with(response);
    assert!(waiting.await.unwrap().is_err());
    // Nothing was being sent, so the submission may be sent by a clone.
    let error = bounded_paused(request.submission().accepted()).await.unwrap_err();
    assert!(!error.may_be_running(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn zero_or_past_deadline_submits_nothing() {
    let (wait, mut daemon) = polling_wait();
    for request in [request().with_deadline(Duration::ZERO), request()] {
        let error = spawn_wait(&wait.clone().with_deadline(Some(Duration::ZERO)), &request).await.unwrap().unwrap_err();
        assert!(error.is_deadline() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    }
    let request = request().with_deadline(seconds(1));
    let waiting = call_wait(&wait, request.clone()).await;
    daemon.quiet_for(seconds(2)).await;
    assert!(waiting.await.unwrap_err().is_safe_to_resubmit());
    daemon.quiet_for(seconds(100)).await;
    assert_eq!(wait.stats().submitted, 0);
}

#[tokio::test(start_paused = true)]
async fn shorter_deadline_of_request_and_service_applies() {
    for (on_request, on_service) in [(3, 9), (9, 3)] {
        let (wait, mut daemon) = polling_wait_with(|layer| layer.deadline(seconds(on_service)));
        let waiting = spawn_wait(&wait, &request().with_deadline(seconds(on_request)).with_deadline(seconds(10)));
        let _post = daemon.next_post().await;
        assert!(waiting.await.unwrap().unwrap_err().is_deadline());
        assert_eq!(daemon.elapsed(), seconds(3));
    }
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
