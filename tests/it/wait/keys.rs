//! Idempotency keys that the caller sets, and what is known of the daemon's support for them.

use foreman_client::{Notifier, SubmitRequest};

use crate::support::{WebhookHarness, polling_wait_with, seconds, spawn_wait};

fn request_with(key: &str) -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").idempotency_key(key).build().unwrap()
}

/// The process that submitted the job before has crashed.
#[tokio::test(start_paused = true)]
async fn key_of_the_caller_is_sent() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer);
    let request = request_with("order-4711");
    let waiting = spawn_wait(&wait, &request);
    let post = daemon.next_post().await;
    assert_eq!(post.header("idempotency-key"), Some("order-4711"));
    post.accept_with_key("7");
    daemon.next_get().await.respond(401, "");
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.idempotency_key().unwrap().to_string(), "order-4711");
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));
    assert_ne!(request.renew().submission().idempotency_key().to_string(), "order-4711");
}

#[test]
fn invalid_key_is_reported_by_build() {
    for key in ["", "two words", &"k".repeat(256)] {
        let error = SubmitRequest::builder("m").idempotency_key(key).build().unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with("invalid idempotency_key: "), "{error}");
    }
}

/// The events of the job may go to the process that submitted it.
#[tokio::test(start_paused = true)]
async fn job_of_a_key_is_polled_until_its_own_event() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| layer);
    // Another job proves that webhooks work.
    let proven = spawn_wait(&harness.wait, &crate::support::request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("1");
    harness.daemon.settle().await;
    harness.event(&url, "1", "done").await;
    proven.await.unwrap().unwrap();

    let request = request_with("order-4711");
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.skip_to_post().await;
    let url = post.callback().unwrap();
    post.accept_with_key("7");
    // Not at the slow interval of 30 s.
    for _ in 0..4 {
        let poll = harness.daemon.next_get().await;
        assert!(poll.at < seconds(20), "{:?}", poll.at);
        poll.respond_state("running");
    }
    harness.event(&url, "7", "running").await;
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.quiet_for(seconds(20)).await;
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn assumed_support_recovers_the_first_lost_response() {
    for assumed in [false, true] {
        let (wait, mut daemon) = polling_wait_with(|layer| if assumed { layer.assume_idempotency() } else { layer });
        let request = crate::support::request();
        let first = spawn_wait(&wait, &request);
        daemon.next_post().await.reset();
        assert!(first.await.unwrap().unwrap_err().is_maybe_submitted());
        let again = spawn_wait(&wait, &request);
        if assumed {
            daemon.next_post().await.accept_with_key("7");
            daemon.next_get().await.respond_state("done");
            assert!(again.await.unwrap().is_ok());
        } else {
            assert!(again.await.unwrap().unwrap_err().is_maybe_submitted());
        }
    }
}

/// A `202` without the key shows that the assumption was wrong.
#[tokio::test(start_paused = true)]
async fn wrong_assumption_is_corrected() {
    let (wait, mut daemon) = polling_wait_with(foreman_client::wait::WaitLayerBuilder::assume_idempotency);
    let first = spawn_wait(&wait, &crate::support::request());
    daemon.next_post().await.accept("1");
    daemon.next_get().await.respond_state("done");
    first.await.unwrap().unwrap();
    let request = crate::support::request();
    let lost = spawn_wait(&wait, &request);
    daemon.next_post().await.reset();
    assert!(lost.await.unwrap().is_err());
    assert!(spawn_wait(&wait, &request).await.unwrap().unwrap_err().is_maybe_submitted());
    daemon.quiet_for(seconds(100)).await;
}
