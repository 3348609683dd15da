//! Events that come late, not at all, or too large, and receivers that close.

use std::time::Duration;

use foreman_client::SubmitRequest;
use foreman_client::webhook::{Secret, WebhookReceiver};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::ServiceExt as _;

use crate::support::{SECRET, WebhookHarness, bounded_paused, job_json, millis, request, seconds, spawn_wait};

#[tokio::test(start_paused = true)]
async fn event_shortly_after_poll_is_not_missed() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    for delay in [0, 1, 4_900] {
        // The first poll returns the result, and the event comes a moment later, when the wait and the request are gone.
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.accept("7");
        harness.daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(harness.notifier.waiting(), 0);
        harness.daemon.quiet_for(millis(delay)).await;
        assert_eq!(harness.event(&url, "7", "done").await, StatusCode::NO_CONTENT);
        harness.daemon.quiet_for(seconds(20)).await;
    }
    let (waits, webhooks) = (harness.wait.stats(), harness.notifier.stats());
    assert_eq!((waits.finished_by_poll, waits.rescued, webhooks.refusals(), webhooks.late), (3, 0, 0, 3));

    // Webhooks still count as working: a running job is polled slowly.
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.quiet_for(seconds(29)).await;
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn missed_event_shortens_slow_pauses_of_other_waits() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let long = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("8");

    let quick = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("9");
    for _ in 0..2 {
        let poll = harness.daemon.next_get().await;
        let state = if poll.job() == "8" { "running" } else { "done" };
        poll.respond_state(state);
    }
    assert!(quick.await.unwrap().is_ok());
    let start = harness.daemon.elapsed();
    let poll = harness.daemon.next_get().await;
    // After the grace of 5 s, and an interval of 1 s.
    assert_eq!((poll.job().as_str(), poll.at - start), ("8", seconds(6)));
    assert_eq!(harness.wait.stats().rescued, 1);
    poll.respond_state("done");
    assert!(long.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn oversized_event_is_a_hint() {
    for declared in [true, false] {
        let mut harness = WebhookHarness::signed();
        harness.prove_webhooks().await;
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.accept("7");
        harness.daemon.next_get().await.respond_state("running");
        let receiver = WebhookReceiver::builder(harness.notifier.clone()).max_body(1_000).build().unwrap();
        let body = Full::<bytes::Bytes>::from("x".repeat(1_001));
        let event = Request::post(&url);
        let event = if declared { event.header("content-length", 1_001) } else { event };
        let response = receiver.oneshot(event.body(body).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let start = harness.daemon.elapsed();
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at - start, Duration::ZERO);
        poll.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn stale_poll_after_terminal_hint_is_repeated_soon() {
    let mut harness = WebhookHarness::unsigned();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.event(&url, "7", "running").await;
    harness.daemon.next_get().await.respond_state("running");
    harness.event(&url, "7", "done").await;
    // A replica that lags behind the one that sent the event.
    harness.daemon.next_get().await.respond_state("running");
    let start = harness.daemon.elapsed();
    let poll = harness.daemon.next_get().await;
    assert!(poll.at - start <= seconds(2), "{:?}", poll.at - start);
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn closing_receiver_makes_waits_poll() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.quiet_for(seconds(10)).await;
    // A graceful stop: the receiver closes, the event is refused, the wait goes on.
    let start = harness.daemon.elapsed();
    harness.close_receiver();
    assert_eq!(harness.event(&url, "7", "done").await, StatusCode::SERVICE_UNAVAILABLE);
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.at - start, seconds(1));
    poll.respond_state("done");
    assert!(bounded_paused(waiting).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn drained_event_does_not_undo_stop() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let (mut waits, mut urls) = (Vec::new(), Vec::new());
    for job in ["7", "8"] {
        waits.push(spawn_wait(&harness.wait, &request()));
        let post = harness.daemon.next_post().await;
        urls.push(post.callback().unwrap());
        post.accept(job);
    }
    // The body of the first event arrives after the receiver has closed.
    let receiver = WebhookReceiver::builder(harness.notifier.clone()).secret(SECRET).build().unwrap();
    let json = job_json("7", "done", "from an event");
    let signature = Secret::new(SECRET).unwrap().sign(json.as_bytes());
    let frames = futures_util::stream::once(async move {
        tokio::time::sleep(millis(500)).await;
        Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(json)))
    });
    let body = Box::pin(http_body_util::StreamBody::new(frames));
    let event = Request::post(&urls[0]).header("x-foreman-signature", signature).body(body).unwrap();
    let in_flight = tokio::spawn(receiver.clone().oneshot(event));
    harness.daemon.settle().await;
    let start = harness.daemon.elapsed();
    receiver.close();
    assert_eq!(in_flight.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
    for second in [1, 2] {
        let poll = harness.daemon.next_get().await;
        assert_eq!((poll.job().as_str(), poll.at - start), ("8", seconds(second)));
        poll.respond_state("running");
    }
    waits.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn clone_after_late_event_awaits_none() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    harness.event(&url, "7", "done").await;
    assert!(spawn_wait(&harness.wait, &request).await.unwrap().is_ok());
    harness.daemon.quiet_for(seconds(10)).await;
    assert_eq!(harness.wait.stats().rescued, 0);
}

/// The event of a job that had ended before is with whoever submitted it first.
#[tokio::test(start_paused = true)]
async fn repeated_key_of_finished_job_is_no_missed_event() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let repeated = SubmitRequest::builder("m").user("hi").idempotency_key("order-1").build().unwrap();
    let repeated = spawn_wait(&harness.wait, &repeated);
    harness.daemon.skip_to_post().await.accept_with_key("5");
    harness.daemon.next_get().await.respond_state("done");
    assert!(repeated.await.unwrap().is_ok());
    tokio::time::sleep(seconds(30)).await;
    assert_eq!(harness.wait.stats().rescued, 0);
    // Webhooks still count as working.
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept_with_key("6");
    harness.daemon.quiet_for(seconds(20)).await;
    waiting.abort();
}
