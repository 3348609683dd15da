//! Submissions whose response was lost.

use foreman_client::retry::Reattach;
use foreman_client::wait::{JobErrorsLayer, WaitLayerBuilder};
use foreman_client::{Notifier, SubmitRequest};
use tower::{ServiceBuilder, ServiceExt as _};

use crate::support::{
    ReceivedRequest, WebhookHarness, bounded_paused, learn_idempotency, millis, polling_wait, request, seconds,
    spawn_wait,
};

/// Asserts that a repeated submission is identical to the first one.
fn assert_identical(again: &ReceivedRequest, request: &SubmitRequest, callback: Option<&str>) {
    assert_eq!(again.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
    assert_eq!(again.body, request.body());
    assert_eq!(again.callback().as_deref(), callback);
}

#[tokio::test(start_paused = true)]
async fn first_event_names_job() {
    for signed in [true, false] {
        for state in ["queued", "running"] {
            let mut harness = if signed { WebhookHarness::signed() } else { WebhookHarness::unsigned() };
            let request = request();
            let waiting = spawn_wait(&harness.wait, &request);
            let post = harness.daemon.next_post().await;
            let url = post.callback().unwrap();
            post.reset();
            harness.daemon.quiet_for(seconds(9)).await;
            assert_eq!(harness.event(&url, "7", state).await, 204);
            let poll = harness.daemon.next_get().await;
            assert_eq!((poll.at, poll.uri.path()), (seconds(9), "/jobs/7"));
            assert_eq!(request.submission().job_id().unwrap().as_str(), "7");
            poll.respond_state("done");
            assert!(waiting.await.unwrap().is_ok());
            let stats = harness.wait.stats();
            assert_eq!((stats.submitted, stats.attached, stats.lost_responses), (1, 0, 1));
        }
    }
}

/// The response would have confirmed that the event is of this job. A poll does.
#[tokio::test(start_paused = true)]
async fn signed_terminal_event_names_job_and_poll_completes_wait() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.reset();
    harness.daemon.quiet_for(seconds(3)).await;
    harness.event(&url, "7", "done").await;
    let poll = harness.daemon.next_get().await;
    assert_eq!((poll.at, poll.uri.path()), (seconds(3), "/jobs/7"));
    poll.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from a poll");
    harness.daemon.quiet_for(seconds(100)).await;
}

/// Whoever has seen a signed event of another job can send it to the callback URL of this one. The same key returns the right id.
#[tokio::test(start_paused = true)]
async fn replayed_event_after_loss_is_corrected_by_the_key() {
    for (before_loss, slow) in [(false, false), (true, false), (true, true)] {
        let mut harness = WebhookHarness::signed();
        learn_idempotency(&harness.wait, &mut harness.daemon).await;
        let request = request();
        let waiting = spawn_wait(&harness.wait, &request);
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        let mut held = None;
        if before_loss {
            harness.event(&url, "8", "done").await;
        }
        if slow {
            held = Some(post);
        } else {
            post.reset();
        }
        if !before_loss {
            harness.daemon.settle().await;
            harness.event(&url, "8", "done").await;
        }
        let again = harness.daemon.next_post().await;
        // Between the two responses an event of this job may come.
        harness.event(&url, "7", "done").await;
        again.accept_with_key("7");
        let result = waiting.await.unwrap().unwrap();
        assert_eq!(result.job_id().as_str(), "7", "before the loss: {before_loss}, slow: {slow}");
        drop(held);
    }
}

/// The job may have ended in the window, and its event may be lost.
#[tokio::test(start_paused = true)]
async fn resent_submission_is_polled_at_once_while_webhooks_work() {
    let mut harness = WebhookHarness::signed();
    let proven = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept_with_key("1");
    harness.daemon.settle().await;
    harness.event(&url, "1", "done").await;
    proven.await.unwrap().unwrap();

    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.skip_to_post().await.reset();
    let again = harness.daemon.next_post().await;
    let at = again.at;
    again.accept_with_key("7");
    let poll = harness.daemon.next_get().await;
    assert_eq!((poll.at, poll.uri.path()), (at, "/jobs/7"));
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

/// No response confirms it, so it counts.
#[tokio::test(start_paused = true)]
async fn id_of_an_event_counts_if_no_response_comes() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let (waiting, url) = harness.lose_response(&request()).await;
    harness.event(&url, "7", "running").await;
    for _ in 0..3 {
        harness.daemon.next_post().await.reset();
    }
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.uri.path(), "/jobs/7");
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn event_before_loss_names_job() {
    for new in [WebhookHarness::signed, WebhookHarness::unsigned] {
        let mut harness = new();
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        harness.event(&post.callback().unwrap(), "7", "running").await;
        harness.daemon.quiet_for(seconds(1)).await;
        post.reset();
        let poll = harness.daemon.next_get().await;
        assert_eq!((poll.at, poll.uri.path()), (seconds(1), "/jobs/7"));
        poll.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// The response can come from a proxy. The event proves that the submission arrived.
#[tokio::test(start_paused = true)]
async fn event_overrides_404() {
    for new in [WebhookHarness::signed, WebhookHarness::unsigned] {
        let mut harness = new();
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        harness.event(&post.callback().unwrap(), "7", "running").await;
        harness.daemon.quiet_for(seconds(1)).await;
        post.respond(404, "not found on this replica");
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.uri.path(), "/jobs/7");
        poll.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn unusable_202_is_a_lost_response() {
    for body in ["", "{}", r#"{"job_id":"a/b"}"#] {
        let mut harness = WebhookHarness::signed();
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.respond(202, body);
        harness.daemon.quiet_for(seconds(1)).await;
        harness.event(&url, "7", "done").await;
        harness.daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_resend_without_keys() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    harness.daemon.next_post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(harness.daemon.elapsed(), seconds(10));
    assert!(error.is_maybe_submitted() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error}");
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));
    harness.daemon.quiet_for(seconds(1_000)).await;

    // The window counts from the loss: a clone has none of its own.
    assert!(spawn_wait(&harness.wait, &request).await.unwrap().unwrap_err().is_maybe_submitted());
    // An event can still arrive. A clone then finds the job.
    harness.event(&WebhookHarness::callback(&request), "7", "done").await;
    let waiting = spawn_wait(&harness.wait, &request);
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(harness.wait.stats().submitted, 1);
}

#[tokio::test(start_paused = true)]
async fn resend_with_keys_is_identical() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback();
    assert_identical(&post, &request, url.as_deref());
    post.reset();
    let again = harness.daemon.next_post().await;
    assert_identical(&again, &request, url.as_deref());
    again.accept_with_key("7");
    harness.daemon.next_get().await.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn resends_are_limited() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let waiting = spawn_wait(&harness.wait, &request());
    let responses: [fn(ReceivedRequest); 4] = [
        ReceivedRequest::reset,
        |request| request.fail(std::io::ErrorKind::ConnectionRefused),
        |request| request.respond(422, r#"{"error":"another body"}"#),
        |request| request.respond(503, ""),
    ];
    for respond in responses {
        respond(harness.daemon.next_post().await);
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    // 250 ms, 2 s and twice the window of 10 s, each up to half longer.
    let elapsed = harness.daemon.elapsed();
    assert!((seconds(22)..=seconds(34)).contains(&elapsed), "{elapsed:?}");
    harness.daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn polling_without_keys_fails_at_once() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted());
    assert_eq!(error.to_string(), "POST http://daemon.test/jobs: connection to the daemon lost");
    assert_eq!(daemon.elapsed(), seconds(0));

    // A clone does not send it again without keys.
    let error = spawn_wait(&wait, &request).await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(1_000)).await;

    // A renewed request is another job.
    let waiting = spawn_wait(&wait, &request.renew());
    let post = daemon.next_post().await;
    assert_ne!(post.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
    post.accept("8");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn polling_with_keys_clone_resends() {
    let (wait, mut daemon) = polling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    let waiting = spawn_wait(&wait, &request);
    let again = daemon.next_post().await;
    assert_identical(&again, &request, None);
    again.accept_with_key("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn unsent_resend_is_still_maybe_submitted() {
    let (wait, mut daemon) = polling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    for kind in [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::ConnectionReset] {
        let waiting = spawn_wait(&wait, &request);
        daemon.next_post().await.fail(kind);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_maybe_submitted() && !error.is_safe_to_resubmit() && error.is_retryable(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_readiness_is_unsent() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    let post = daemon.next_post().await;
    daemon.allow(0);
    post.respond(429, "");
    assert!(one.await.unwrap().unwrap_err().is_safe_to_resubmit());
    daemon.quiet_for(seconds(1)).await;
    daemon.fail_ready("the pool is closed");
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_safe_to_resubmit() && !error.is_maybe_submitted(), "{error:?}");
    daemon.allow(100);
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn clone_resends_unsent_request() {
    for new in [WebhookHarness::signed, WebhookHarness::unsigned] {
        let mut harness = new();
        let request = request();
        let waiting = spawn_wait(&harness.wait, &request);
        let first = harness.daemon.next_post().await;
        let url = first.callback();
        first.fail(std::io::ErrorKind::ConnectionRefused);
        assert!(waiting.await.unwrap().unwrap_err().is_safe_to_resubmit());
        let waiting = spawn_wait(&harness.wait, &request);
        let again = harness.daemon.next_post().await;
        assert_identical(&again, &request, url.as_deref());
        again.accept("7");
        harness.daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// A proxy answers the first submission of a process with 502. Nothing shows whether the daemon supports keys.
#[tokio::test(start_paused = true)]
async fn reattach_gives_up_soon_and_with_the_cause() {
    for webhooks in [false, true] {
        let mut harness = WebhookHarness::signed();
        let wait = if webhooks { harness.wait.clone() } else { harness.without_webhooks(|layer| layer) };
        let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).retry(Reattach::default()).service(wait);
        let called = tokio::spawn(bounded_paused(stack.oneshot(request())));
        harness.daemon.next_post().await.respond(502, r#"{"error":"bad gateway"}"#);
        let error = called.await.unwrap().unwrap_err();
        assert!(error.is_maybe_submitted() && error.may_be_running(), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("daemon returned 502: bad gateway"), "{source}");
        // An event had its time.
        let limit = if webhooks { seconds(11) } else { seconds(1) };
        assert!(harness.daemon.elapsed() < limit, "{:?}", harness.daemon.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn submission_with_keys_is_soon_resent() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, WaitLayerBuilder::assume_idempotency);
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.respond(502, "");
    // Each pause is longer. An event ends them too.
    let mut before = seconds(0);
    for (least, most) in [(250, 375), (2_000, 3_000), (10_000, 15_000)] {
        let post = harness.daemon.next_post().await;
        let pause = post.at - before;
        assert!((millis(least)..=millis(most)).contains(&pause), "{pause:?}");
        before = post.at;
        post.reset();
    }
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
}
