//! How often a wait polls while webhooks work, and after they stop.

use foreman_client::source::PollPolicy;
use foreman_client::{Notifier, WaitLayer};
use tower::Layer;

use crate::support::{
    ScriptedDaemon, WebhookHarness, exact_polls, polling_wait_with, request, seconds, spawn_attach, spawn_wait,
};

/// Runs a job with an event for each state. Returns the times of its polls in seconds.
async fn polls_with_events(harness: &mut WebhookHarness) -> Vec<u64> {
    let start = harness.daemon.elapsed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    let mut polls = Vec::new();
    for nth in 0..4 {
        let poll = harness.daemon.next_get().await;
        polls.push((poll.at - start).as_secs());
        poll.respond_state("running");
        if nth == 0 {
            harness.event(&url, "7", "running").await;
        }
    }
    harness.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    polls
}

/// Runs a job without events. Returns the times of its polls in seconds.
async fn polls_without_events(harness: &mut WebhookHarness) -> Vec<u64> {
    let start = harness.daemon.elapsed();
    let waiting = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.accept("7");
    let mut polls = Vec::new();
    for state in ["running", "running", "running", "done"] {
        let poll = harness.daemon.next_get().await;
        polls.push((poll.at - start).as_secs());
        poll.respond_state(state);
    }
    assert!(waiting.await.unwrap().is_ok());
    polls
}

#[tokio::test(start_paused = true)]
async fn polls_slow_down_while_webhooks_work() {
    let mut harness = WebhookHarness::signed();
    // Before the first event: regular intervals.
    assert_eq!(polls_without_events(&mut harness).await, [0, 1, 2, 4]);
    assert_eq!(harness.wait.stats().rescued, 0);
    // The first event proves that webhooks work.
    assert_eq!(polls_with_events(&mut harness).await, [0, 30, 60, 90]);
    // A job that was just accepted is not polled.
    assert_eq!(polls_with_events(&mut harness).await, [30, 60, 90, 120]);
    // Webhooks stop. Slow polls find the end of the first job, regular polls those of the next jobs.
    assert_eq!(polls_without_events(&mut harness).await, [30, 60, 90, 120]);
    harness.daemon.quiet_for(seconds(6)).await;
    assert_eq!(harness.wait.stats().rescued, 1);
    assert_eq!(polls_without_events(&mut harness).await, [0, 1, 2, 4]);
    assert_eq!(polls_without_events(&mut harness).await, [0, 1, 2, 4]);
    assert_eq!(harness.wait.stats().rescued, 1);
    // Webhooks work again.
    assert_eq!(polls_with_events(&mut harness).await, [0, 30, 60, 90]);
    assert_eq!(harness.wait.stats().finished_by_webhook, 3);
}

#[tokio::test(start_paused = true)]
async fn attached_job_is_polled_at_normal_interval() {
    let mut harness = WebhookHarness::signed();
    polls_with_events(&mut harness).await;
    let start = harness.daemon.elapsed();
    let waiting = spawn_attach(&harness.wait, "9");
    for at in [0, 1, 2] {
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at - start, seconds(at));
        poll.respond_state(if at < 2 { "running" } else { "done" });
    }
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(harness.wait.stats().rescued, 0);
}

#[tokio::test(start_paused = true)]
async fn no_long_polls_while_webhooks_work() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| {
        layer.poll_policy(exact_polls().long_poll(seconds(20)).build().unwrap())
    });
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    let long = harness.daemon.next_get().await;
    assert_eq!((long.at, long.header("prefer")), (seconds(1), Some("wait=20")));
    harness.event(&url, "7", "running").await;
    long.respond_state_with("running", &[("preference-applied", "wait=20")]);
    for at in [2, 32, 62] {
        let poll = harness.daemon.next_get().await;
        assert_eq!((poll.at, poll.header("prefer")), (seconds(at), None));
        poll.respond_state("running");
    }
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_share_state() {
    let (api, _daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::new(api.clone());
    let (one, other) = (layer.layer(api.clone()), layer.layer(api));
    let waiting = spawn_wait(&one, &request());
    tokio::task::yield_now().await;
    assert_eq!((one.stats().started, other.stats().started), (1, 1));
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn no_poll_right_after_202_while_webhooks_work() {
    let mut harness = WebhookHarness::signed();
    polls_with_events(&mut harness).await;
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.quiet_for(seconds(10)).await;
    // A clone has not submitted it, and does not know how long its event is due.
    let clone = spawn_wait(&harness.wait, &request);
    harness.daemon.next_get().await.respond_state("running");
    harness.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok() && clone.await.unwrap().is_ok());
}

/// An unsigned event before the response asks for a poll.
#[tokio::test(start_paused = true)]
async fn hint_before_202_is_followed_by_a_poll_while_webhooks_work() {
    let mut harness = WebhookHarness::unsigned();
    for _ in 0..2 {
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        harness.event(&post.callback().unwrap(), "7", "done").await;
        let start = harness.daemon.elapsed();
        post.accept("7");
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at, start);
        poll.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// By the default policy, at a daemon without long polls.
#[tokio::test(start_paused = true)]
async fn job_of_50_ms_is_found_within_an_eighth_of_its_age() {
    for took in [50, 400, 3_000, 60_000].map(crate::support::millis) {
        let (wait, mut daemon) = polling_wait_with(|layer| layer.poll_policy(PollPolicy::default()));
        let waiting = spawn_wait(&wait, &request());
        daemon.next_post().await.accept("7");
        let found = loop {
            let poll = daemon.next_get().await;
            if poll.at >= took {
                let at = poll.at;
                poll.respond_state("done");
                break at;
            }
            poll.respond_state("running");
        };
        assert!(waiting.await.unwrap().is_ok());
        // With the jitter of a tenth, and 25 ms at least.
        let latest = took + (took / 8).mul_f64(1.1).max(crate::support::millis(28));
        assert!(found <= latest, "{took:?}: found after {found:?}");
    }
}
