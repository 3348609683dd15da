//! How often a wait asks while events come, and when they stop.

use foreman_client::Notifier;
use tower::Layer;

use crate::support::{Pushed, begin, request, seconds};

/// A job of which an event tells that it runs, and then its end; when it was polled.
async fn told_by_events(it: &mut Pushed) -> Vec<u64> {
    let begun = it.daemon.clock();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    let mut polls = Vec::new();
    for nth in 0..4 {
        let asked = it.daemon.get().await;
        polls.push((asked.at - begun).as_secs());
        asked.tell("running");
        if nth == 0 {
            it.event(&url, "7", "running").await;
        }
    }
    it.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    polls
}

/// A job of which no event tells; when it was polled.
async fn told_by_polls(it: &mut Pushed) -> Vec<u64> {
    let begun = it.daemon.clock();
    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.accept("7");
    let mut polls = Vec::new();
    for state in ["running", "running", "running", "done"] {
        let asked = it.daemon.get().await;
        polls.push((asked.at - begun).as_secs());
        asked.tell(state);
    }
    assert!(waiting.await.unwrap().is_ok());
    polls
}

#[tokio::test(start_paused = true)]
async fn polls_are_slow_while_push_works_and_steady_while_it_has_lately_missed_one() {
    let mut it = Pushed::signed();
    // Never proven: steady.
    assert_eq!(told_by_polls(&mut it).await, [0, 1, 3, 7]);
    assert_eq!(it.wait.stats().rescued, 0);
    // The first event proves it.
    assert_eq!(told_by_events(&mut it).await, [0, 30, 60, 90]);
    assert_eq!(told_by_events(&mut it).await, [0, 30, 60, 90]);
    // It stops: the first job that a poll must rescue is found by the slow polls, the next ones by steady ones.
    assert_eq!(told_by_polls(&mut it).await, [0, 30, 60, 90]);
    assert_eq!(it.wait.stats().rescued, 1);
    assert_eq!(told_by_polls(&mut it).await, [0, 1, 3, 7]);
    assert_eq!(told_by_polls(&mut it).await, [0, 1, 3, 7]);
    assert_eq!(it.wait.stats().rescued, 1);
    // It comes back.
    assert_eq!(told_by_events(&mut it).await, [0, 30, 60, 90]);
    assert_eq!(it.wait.stats().finished_by_webhook, 3);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_attached_to_by_its_id_gets_no_events_and_is_polled_steadily() {
    let mut it = Pushed::signed();
    told_by_events(&mut it).await;
    let begun = it.daemon.clock();
    let waiting = crate::support::attach(&it.wait, "9");
    for at in [0, 1, 3] {
        let asked = it.daemon.get().await;
        assert_eq!(asked.at - begun, seconds(at));
        asked.tell(if at < 3 { "running" } else { "done" });
    }
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(it.wait.stats().rescued, 0);
}

#[tokio::test(start_paused = true)]
async fn while_push_works_no_answer_is_asked_to_be_held() {
    let mut it = Pushed::new(Notifier::new(), true, |layer| {
        layer.poll_policy(crate::support::exact().long_poll(seconds(20)).build().unwrap())
    });
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("running");
    let held = it.daemon.get().await;
    assert_eq!((held.at, held.header("prefer")), (seconds(1), Some("wait=20")));
    it.event(&url, "7", "running").await;
    held.tell_with("running", &[("preference-applied", "wait=20")]);
    for at in [2, 32, 62] {
        let asked = it.daemon.get().await;
        assert_eq!((asked.at, asked.header("prefer")), (seconds(at), None));
        asked.tell("running");
    }
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn each_service_made_by_a_layer_learns_for_itself() {
    let (api, _daemon) = crate::support::Daemon::new();
    let layer = foreman_client::WaitLayer::new(api.clone());
    let (one, other) = (layer.layer(api.clone()), layer.layer(api));
    let waiting = begin(&one, &request());
    tokio::task::yield_now().await;
    assert_eq!((one.stats().started, other.stats().started), (1, 0));
    waiting.abort();
}
