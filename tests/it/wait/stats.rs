//! `WaitStats` after each kind of end.

use foreman_client::wait::WaitStats;

use crate::support::{WebhookHarness, call_wait, request, seconds, spawn_attach, spawn_wait};

/// Asserts that the counters are those in `expected`, and that all others are zero.
fn assert_counted(stats: WaitStats, expected: &[(&str, u64)]) {
    let all = [
        ("started", stats.started),
        ("submitted", stats.submitted),
        ("attached", stats.attached),
        ("finished_by_webhook", stats.finished_by_webhook),
        ("finished_by_poll", stats.finished_by_poll),
        ("rescued", stats.rescued),
        ("failed", stats.failed),
        ("dropped", stats.dropped),
        ("polls", stats.polls),
        ("poll_failures", stats.poll_failures),
        ("lost_responses", stats.lost_responses),
    ];
    let counted: Vec<_> = all.into_iter().filter(|(_, count)| *count != 0).collect();
    assert_eq!(counted, expected);
    assert_eq!(stats.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn event_counts_as_finished_by_webhook() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.settle().await;
    assert_eq!(harness.wait.stats().waiting(), 1);
    harness.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    assert_counted(harness.wait.stats(), &[("started", 1), ("submitted", 1), ("finished_by_webhook", 1), ("polls", 1)]);
}

#[tokio::test(start_paused = true)]
async fn poll_counts_as_finished_by_poll() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("7");
    harness.daemon.next_get().await.respond(500, "");
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    let expected = [("started", 1), ("submitted", 1), ("finished_by_poll", 1), ("polls", 1), ("poll_failures", 1)];
    assert_counted(harness.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn missed_event_counts_as_rescued() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "7", "running").await;
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    harness.daemon.quiet_for(seconds(6)).await;
    let expected = [("started", 1), ("submitted", 1), ("finished_by_poll", 1), ("rescued", 1), ("polls", 2)];
    assert_counted(harness.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn wait_by_id_counts_as_attached() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_attach(&harness.wait, "7");
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_counted(harness.wait.stats(), &[("started", 1), ("attached", 1), ("finished_by_poll", 1), ("polls", 1)]);
}

#[tokio::test(start_paused = true)]
async fn errors_count_as_failed() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.respond(400, "");
    assert!(waiting.await.unwrap().is_err());
    assert_counted(harness.wait.stats(), &[("started", 1), ("submitted", 1), ("failed", 1)]);

    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().is_err());
    assert_counted(harness.wait.stats(), &[("started", 2), ("submitted", 2), ("failed", 2), ("lost_responses", 1)]);

    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("7");
    harness.daemon.next_get().await.respond(401, "");
    assert!(waiting.await.unwrap().is_err());
    let expected = [("started", 3), ("submitted", 3), ("failed", 3), ("poll_failures", 1), ("lost_responses", 1)];
    assert_counted(harness.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn drops_count_as_dropped() {
    let mut harness = WebhookHarness::signed();
    drop(call_wait(&harness.wait, request()).await);
    let waiting = spawn_wait(&harness.wait, &request());
    let _post = harness.daemon.next_post().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    assert_counted(harness.wait.stats(), &[("started", 2), ("submitted", 1), ("dropped", 2)]);
}
