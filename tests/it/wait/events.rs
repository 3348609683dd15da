//! Waits that events come to.

use std::time::Duration;

use foreman_client::JobId;
use foreman_client::source::RefusalReason;

use crate::support::{Pushed, begin, request, seconds};

#[tokio::test(start_paused = true)]
async fn a_signed_event_completes_the_wait_with_its_body_and_without_another_poll() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    assert!(url.starts_with("http://here.test/events/") && url.len() == 24 + 32, "{url}");
    post.accept("7");
    it.daemon.get().await.tell("running");
    assert_eq!(it.event(&url, "7", "done").await, 204);
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by an event");
    it.daemon.quiet_for(seconds(100)).await;
    assert_eq!((it.wait.stats().finished_by_webhook, it.notifier.stats().finished), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_signed_event_need_not_wait_for_the_poll_that_is_in_flight() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    let _asked = it.daemon.get().await;
    it.event(&url, "7", "done").await;
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by an event");
    assert_eq!(it.daemon.clock(), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn an_unsigned_event_is_a_hint_to_ask_at_once_and_is_not_believed() {
    let mut it = Pushed::unsigned();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("running");
    it.daemon.quiet_for(Duration::from_millis(400)).await;
    assert_eq!(it.event(&url, "7", "done").await, 204);
    let asked = it.daemon.get().await;
    assert_eq!(asked.at, Duration::from_millis(400));
    asked.tell("running");
    it.daemon.quiet_for(Duration::from_millis(400)).await;
    it.event(&url, "7", "queued").await;
    let asked = it.daemon.get().await;
    assert_eq!(asked.at, Duration::from_millis(800));
    asked.tell("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by a poll");
    assert_eq!((it.wait.stats().finished_by_webhook, it.wait.stats().finished_by_poll), (1, 0));
}

/// It says all that a poll would.
#[tokio::test(start_paused = true)]
async fn a_signed_event_on_the_way_makes_nobody_ask() {
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("queued");
    it.daemon.settle().await;
    it.event(&url, "7", "running").await;
    assert_eq!(request.submission().last_state().unwrap().as_str(), "running");
    // The pause that was begun goes on to its end; the next one is that of a push that works.
    for at in [1, 31] {
        let asked = it.daemon.get().await;
        assert_eq!(asked.at, seconds(at));
        asked.tell("running");
    }
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn event_before_the_202_completes_the_wait() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    assert_eq!(it.event(&post.callback().unwrap(), "7", "done").await, 204);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.job_id.as_str(), &*result.content().unwrap()), ("7", "told by an event"));
    post.accept("7");
    it.daemon.quiet_for(seconds(100)).await;
    assert_eq!(it.notifier.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_signed_event_on_the_way_before_the_202_names_the_job_at_once() {
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    it.event(&post.callback().unwrap(), "7", "running").await;
    assert_eq!(request.submission().accepted().await, Some(JobId::new("7").unwrap()));
    it.daemon.quiet_for(seconds(1)).await;
    post.accept("7");
    let asked = it.daemon.get().await;
    assert_eq!(asked.at, seconds(1));
    asked.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_unsigned_event_before_the_202_names_nothing_and_is_not_lost() {
    let mut it = Pushed::unsigned();
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    it.event(&post.callback().unwrap(), "8", "done").await;
    it.daemon.quiet_for(seconds(1)).await;
    assert_eq!(request.submission().job_id(), None);
    post.accept("7");
    let asked = it.daemon.get().await;
    assert_eq!((asked.uri.path(), asked.at), ("/jobs/7", seconds(1)));
    asked.tell("done");
    assert_eq!(waiting.await.unwrap().unwrap().job_id.as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_job_is_refused_and_changes_nothing() {
    for new in [Pushed::signed, Pushed::unsigned] {
        let mut it = new();
        let request = request();
        let waiting = begin(&it.wait, &request);
        let post = it.daemon.post().await;
        let url = post.callback().unwrap();
        post.accept("7");
        it.daemon.get().await.tell("running");
        assert_eq!(it.event(&url, "8", "done").await, 401);
        assert_eq!(it.notifier.stats().refused(RefusalReason::WrongJob), 1);
        // No hurry: the next poll comes by the interval, and not by the slow one of a push that works.
        let asked = it.daemon.get().await;
        assert_eq!((asked.at, asked.uri.path()), (seconds(1), "/jobs/7"));
        asked.tell("done");
        assert_eq!(waiting.await.unwrap().unwrap().job_id.as_str(), "7");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_event_is_refused_and_changes_nothing() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("running");
    let forger = it.forger();
    assert_eq!(forger.event(&url, "7", "done").await, 401);
    let guessed = format!("http://here.test/events/{:032x}", 7);
    assert_eq!(it.event(&guessed, "7", "done").await, 404);
    let asked = it.daemon.get().await;
    assert_eq!(asked.at, seconds(1));
    asked.tell("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by a poll");
}

#[tokio::test(start_paused = true)]
async fn late_duplicate_and_reordered_events_change_nothing() {
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.event(&url, "7", "done").await;
    let first = waiting.await.unwrap().unwrap();
    // The clone of the request keeps the slot.
    for state in ["done", "failed", "running", "queued"] {
        assert_eq!(it.event(&url, "7", state).await, 204, "{state}");
    }
    assert_eq!(it.notifier.stats().duplicates, 4);
    let again = begin(&it.wait, &request).await.unwrap().unwrap();
    assert_eq!((again.state.as_str(), again.content()), ("done", first.content()));
    drop(request);
    assert_eq!(it.event(&url, "7", "done").await, 404);
}

#[tokio::test(start_paused = true)]
async fn events_that_never_come_cost_only_time() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.accept("7");
    for at in [0, 1, 3, 7, 15] {
        let asked = it.daemon.get().await;
        assert_eq!(asked.at, seconds(at));
        asked.tell(if at < 15 { "running" } else { "done" });
    }
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!((it.wait.stats().finished_by_poll, it.wait.stats().rescued), (1, 0));
}
