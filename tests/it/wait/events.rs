//! Waits with webhooks.

use foreman_client::source::RefusalReason;

use crate::support::{WebhookHarness, call_wait, millis, request, seconds, spawn_wait};

#[tokio::test(start_paused = true)]
async fn signed_event_completes_wait_without_poll() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    assert!(url.starts_with("http://here.test/events/") && url.len() == 24 + 48, "{url}");
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    assert_eq!(harness.event(&url, "7", "done").await, 204);
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
    harness.daemon.quiet_for(seconds(100)).await;
    assert_eq!((harness.wait.stats().finished_by_webhook, harness.notifier.stats().finished), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn signed_event_during_poll_completes_wait() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    let _poll = harness.daemon.next_get().await;
    harness.event(&url, "7", "done").await;
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
    assert_eq!(harness.daemon.elapsed(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn unsigned_event_triggers_poll() {
    let mut harness = WebhookHarness::unsigned();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.quiet_for(millis(400)).await;
    assert_eq!(harness.event(&url, "7", "done").await, 204);
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.at, millis(400));
    poll.respond_state("running");
    harness.daemon.quiet_for(millis(400)).await;
    harness.event(&url, "7", "queued").await;
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.at, millis(800));
    poll.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from a poll");
    assert_eq!((harness.wait.stats().finished_by_webhook, harness.wait.stats().finished_by_poll), (1, 0));
}

/// The event contains all that a poll would return.
#[tokio::test(start_paused = true)]
async fn signed_progress_event_triggers_no_poll() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("queued");
    harness.daemon.settle().await;
    harness.event(&url, "7", "running").await;
    assert_eq!(request.submission().last_state().unwrap().as_str(), "running");
    // The current pause continues. The next one is the long pause of working webhooks.
    for at in [1, 31] {
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at, seconds(at));
        poll.respond_state("running");
    }
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn event_before_202_completes_wait() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    assert_eq!(harness.event(&post.callback().unwrap(), "7", "done").await, 204);
    harness.daemon.quiet_for(seconds(1)).await;
    post.accept("7");
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.job_id().as_str(), &*result.content().unwrap()), ("7", "from an event"));
    assert_eq!(result.daemon(), Some("http://daemon.test"));
    harness.daemon.quiet_for(seconds(100)).await;
    assert_eq!(harness.notifier.waiting(), 0);
}

/// Whoever has seen a signed event of another job can send it to the callback URL of this one.
#[tokio::test(start_paused = true)]
async fn replayed_event_of_other_job_before_202_is_not_believed() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    assert_eq!(harness.event(&url, "8", "done").await, 204);
    // The event of this job comes too, and finds the place taken.
    assert_eq!(harness.event(&url, "7", "done").await, 204);
    harness.daemon.settle().await;
    assert_eq!((request.submission().job_id(), request.submission().last_state()), (None, None));
    post.accept("7");
    let poll = harness.daemon.next_get().await;
    assert_eq!((poll.at, poll.uri.path()), (seconds(0), "/jobs/7"));
    poll.respond_state("done");
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.job_id().as_str(), &*result.content().unwrap()), ("7", "from a poll"));
}

/// The response is lost when the request times out, or, if nobody polls the wait that sends, after the failure budget.
#[tokio::test(start_paused = true)]
async fn result_before_202_is_polled_if_no_response_comes() {
    for unpolled in [false, true] {
        let mut harness = WebhookHarness::signed();
        let request = request();
        let mut sender = tokio_test::task::spawn(call_wait(&harness.wait, request.clone()).await);
        if unpolled {
            assert!(sender.poll().is_pending());
        }
        let waiting = spawn_wait(&harness.wait, &request);
        let post = harness.daemon.next_post().await;
        harness.daemon.settle().await;
        harness.event(&post.callback().unwrap(), "7", "done").await;
        let poll = harness.daemon.next_get().await;
        assert_eq!((poll.at, poll.uri.path()), (seconds(if unpolled { 120 } else { 30 }), "/jobs/7"));
        poll.respond_state("done");
        assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "7");
    }
}

#[tokio::test(start_paused = true)]
async fn unsigned_event_before_202_triggers_poll() {
    let mut harness = WebhookHarness::unsigned();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "8", "done").await;
    harness.daemon.quiet_for(seconds(1)).await;
    assert_eq!(request.submission().job_id(), None);
    post.accept("7");
    let poll = harness.daemon.next_get().await;
    assert_eq!((poll.uri.path(), poll.at), ("/jobs/7", seconds(1)));
    poll.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn event_of_other_job_is_rejected() {
    for new in [WebhookHarness::signed, WebhookHarness::unsigned] {
        let mut harness = new();
        let request = request();
        let waiting = spawn_wait(&harness.wait, &request);
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.accept("7");
        harness.daemon.next_get().await.respond_state("running");
        assert_eq!(harness.event(&url, "8", "done").await, 401);
        assert_eq!(harness.notifier.stats().refused(RefusalReason::WrongJob), 1);
        // The next poll follows the regular interval: the event does not prove that webhooks work.
        let poll = harness.daemon.next_get().await;
        assert_eq!((poll.at, poll.uri.path()), (seconds(1), "/jobs/7"));
        poll.respond_state("done");
        assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "7");
    }
}

#[tokio::test(start_paused = true)]
async fn forged_event_is_rejected() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    assert_eq!(harness.forged_event(&url, "7", "done").await, 401);
    let guessed = format!("http://here.test/events/{:032x}", 7);
    assert_eq!(harness.event(&guessed, "7", "done").await, 404);
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.at, seconds(1));
    poll.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from a poll");
}

#[tokio::test(start_paused = true)]
async fn events_after_end_change_nothing() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.event(&url, "7", "done").await;
    let first = waiting.await.unwrap().unwrap();
    // The request holds the slot.
    for state in ["done", "failed", "running", "queued"] {
        assert_eq!(harness.event(&url, "7", state).await, 204, "{state}");
    }
    assert_eq!(harness.notifier.stats().duplicates, 4);
    let again = spawn_wait(&harness.wait, &request).await.unwrap().unwrap();
    assert_eq!((again.state().as_str(), again.content()), ("done", first.content()));
    drop(request);
    assert_eq!((harness.event(&url, "7", "done").await, harness.notifier.stats().late), (204.try_into().unwrap(), 1));
    assert_eq!(harness.forged_event(&url, "7", "done").await, 401);
}

#[tokio::test(start_paused = true)]
async fn missing_events_are_covered_by_polls() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("7");
    for at in [0, 1, 2, 4, 8] {
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at, seconds(at));
        poll.respond_state(if at < 8 { "running" } else { "done" });
    }
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!((harness.wait.stats().finished_by_poll, harness.wait.stats().rescued), (1, 0));
}

/// Without idempotency keys the response alone says which job this is, and it may be slow.
#[tokio::test(start_paused = true)]
async fn foreign_result_does_not_end_wait_for_a_slow_response() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let (waiting, follower) = (spawn_wait(&harness.wait, &request), spawn_wait(&harness.wait, &request));
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "9", "done").await;
    harness.daemon.quiet_for(seconds(25)).await;
    assert_eq!(request.submission().job_id(), None);
    post.accept("7");
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.job(), "7");
    poll.respond_state("done");
    for waiting in [waiting, follower] {
        assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "7");
    }
}
