//! What the counters say after each kind of end.

use foreman_client::wait::WaitStats;

use crate::support::{Pushed, attach, begin, request};

/// What has been counted beside `expected`, which names what is not zero.
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
async fn a_wait_that_an_event_ended() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("running");
    it.daemon.settle().await;
    assert_eq!(it.wait.stats().waiting(), 1);
    it.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    assert_counted(it.wait.stats(), &[("started", 1), ("submitted", 1), ("finished_by_webhook", 1), ("polls", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_a_poll_ended() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.accept("7");
    it.daemon.get().await.answer(500, "");
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    let expected = [("started", 1), ("submitted", 1), ("finished_by_poll", 1), ("polls", 1), ("poll_failures", 1)];
    assert_counted(it.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_polling_rescued() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    it.event(&post.callback().unwrap(), "7", "running").await;
    post.accept("7");
    it.daemon.get().await.tell("running");
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    let expected = [("started", 1), ("submitted", 1), ("finished_by_poll", 1), ("rescued", 1), ("polls", 2)];
    assert_counted(it.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn a_wait_by_id() {
    let mut it = Pushed::signed();
    let waiting = attach(&it.wait, "7");
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_counted(it.wait.stats(), &[("started", 1), ("attached", 1), ("finished_by_poll", 1), ("polls", 1)]);
}

#[tokio::test(start_paused = true)]
async fn waits_that_failed() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.answer(400, "");
    assert!(waiting.await.unwrap().is_err());
    assert_counted(it.wait.stats(), &[("started", 1), ("submitted", 1), ("failed", 1)]);

    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.reset();
    assert!(waiting.await.unwrap().is_err());
    assert_counted(it.wait.stats(), &[("started", 2), ("submitted", 2), ("failed", 2), ("lost_responses", 1)]);

    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.accept("7");
    it.daemon.get().await.answer(401, "");
    assert!(waiting.await.unwrap().is_err());
    let expected = [("started", 3), ("submitted", 3), ("failed", 3), ("poll_failures", 1), ("lost_responses", 1)];
    assert_counted(it.wait.stats(), &expected);
}

#[tokio::test(start_paused = true)]
async fn waits_that_were_dropped() {
    let mut it = Pushed::signed();
    drop(crate::support::called(&it.wait, request()).await);
    let waiting = begin(&it.wait, &request());
    let _post = it.daemon.post().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    assert_counted(it.wait.stats(), &[("started", 2), ("submitted", 1), ("dropped", 2)]);
}
