//! Several waits on one submission send it once.

use tower::Service;

use crate::support::{
    WebhookHarness, call_wait, job_id, learn_idempotency, polling_wait, request, seconds, spawn_wait,
};

#[tokio::test(start_paused = true)]
async fn clone_attaches_to_accepted_job() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let first = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    daemon.quiet_for(seconds(60)).await;

    let second = spawn_wait(&wait, &request);
    let poll = daemon.next_get().await;
    assert_eq!((poll.uri.path(), poll.at), ("/jobs/7", seconds(60)));
    poll.respond_state("done");
    let result = second.await.unwrap().unwrap();
    assert_eq!((wait.stats().submitted, wait.stats().attached, wait.stats().dropped), (1, 1, 1));

    // The result is known. Nothing is sent.
    let third = spawn_wait(&wait, &request).await.unwrap().unwrap();
    assert_eq!(third.content(), result.content());
    daemon.quiet_for(seconds(60)).await;
}

#[tokio::test(start_paused = true)]
async fn concurrent_waits_send_once() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    let post = daemon.next_post().await;
    daemon.quiet_for(seconds(1)).await;
    post.accept("7");
    daemon.next_get().await.respond_state("running");
    let _in_flight = daemon.next_get().await;
    daemon.next_get().await.respond_state("done");
    let results = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
    assert!(results.iter().all(|result| result.content().unwrap() == "from a poll"));
    assert_eq!((wait.stats().submitted, wait.stats().attached), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_event_completes_all_waits() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waits: Vec<_> = (0..5).map(|_| spawn_wait(&harness.wait, &request)).collect();
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "7", "done").await;
    post.accept("7");
    for waiting in waits {
        assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
    }
    assert_eq!((harness.wait.stats().submitted, harness.wait.stats().finished_by_webhook), (1, 5));
    drop(request);
    assert_eq!(harness.notifier.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn second_wait_sends_after_rejection() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    daemon.next_post().await.respond(429, "");
    assert!(one.await.unwrap().unwrap_err().is_overloaded());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn unpolled_dropped_wait_sends_nothing() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    drop(call_wait(&wait, request.clone()).await);
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn drop_while_sending_without_keys_is_not_resent() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    let _post = daemon.next_post().await;
    one.abort();
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn drop_while_sending_with_keys_is_resent() {
    let (wait, mut daemon) = polling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let request = request();
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    let post = daemon.next_post().await;
    one.abort();
    let again = daemon.next_post().await;
    assert_eq!((again.header("idempotency-key"), &again.body), (post.header("idempotency-key"), &post.body));
    again.accept_with_key("7");
    daemon.next_get().await.respond_state("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn drop_while_sending_is_resolved_by_event() {
    let mut harness = WebhookHarness::unsigned();
    let request = request();
    let (one, other) = (spawn_wait(&harness.wait, &request), spawn_wait(&harness.wait, &request));
    let url = harness.daemon.next_post().await.callback().unwrap();
    one.abort();
    harness.daemon.quiet_for(seconds(5)).await;
    harness.event(&url, "7", "queued").await;
    harness.daemon.next_get().await.respond_state("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn waits_after_lost_response_resend_once() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let request = request();
    let waits: Vec<_> = (0..4).map(|_| spawn_wait(&harness.wait, &request)).collect();
    harness.daemon.next_post().await.reset();
    let again = harness.daemon.next_post().await;
    harness.daemon.quiet_for(seconds(20)).await;
    again.accept_with_key("7");
    harness.daemon.next_get().await.respond_state("done");
    for waiting in waits {
        assert!(waiting.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn callback_is_fixed_by_first_send() {
    let (plain, mut daemon) = polling_wait();
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&plain, &request);
    let first = daemon.next_post().await;
    let body = first.body.clone();
    first.fail(std::io::ErrorKind::ConnectionRefused);
    assert!(waiting.await.unwrap().unwrap_err().is_safe_to_resubmit());

    let waiting = spawn_wait(&harness.wait, &request);
    let second = harness.daemon.next_post().await;
    assert_eq!((second.callback(), &second.body), (None, &body));
    assert_eq!(harness.notifier.waiting(), 0);
    second.accept("7");
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn renewed_requests_are_separate_jobs() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let (one, other) = (spawn_wait(&harness.wait, &request), spawn_wait(&harness.wait, &request.renew()));
    let posts = [harness.daemon.next_post().await, harness.daemon.next_post().await];
    assert_ne!(posts[0].callback(), posts[1].callback());
    assert_ne!(posts[0].header("idempotency-key"), posts[1].header("idempotency-key"));
    for (post, job) in posts.into_iter().zip(["7", "8"]) {
        post.accept(job);
    }
    for _ in 0..2 {
        harness.daemon.next_get().await.respond_state("done");
    }
    assert_eq!(one.await.unwrap().unwrap().job_id().as_str(), "7");
    assert_eq!(other.await.unwrap().unwrap().job_id().as_str(), "8");
}

/// The daemon may not find its own job right after the 202.
#[tokio::test(start_paused = true)]
async fn attached_clone_has_404_grace() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let first = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    let _in_flight = daemon.next_get().await;
    first.abort();
    let second = spawn_wait(&wait, &request);
    daemon.next_get().await.respond(404, "");
    daemon.next_get().await.respond_state("done");
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn poll_after_completion_is_pending() {
    let (wait, mut daemon) = polling_wait();
    let waiting = wait.attach().call(job_id("7"));
    let mut waiting = tokio_test::task::spawn(waiting);
    assert!(waiting.poll().is_pending());
    daemon.next_get().await.respond_state("done");
    assert!(waiting.poll().is_ready());
    assert!(waiting.poll().is_pending());
    assert_eq!(wait.stats().finished_by_poll, 1);
}
