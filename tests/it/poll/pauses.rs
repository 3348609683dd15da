//! `Retry-After` of one poll pauses the routine polls of all jobs, whatever moments they have reserved.

use tokio::task::yield_now;
use tokio::time::{advance, sleep};
use tokio_test::task::{Spawn, spawn};
use tower::ServiceExt as _;

use crate::support::{
    MockWait, ReceivedRequest, ScriptedDaemon, WaitTask, WebhookHarness, exact_polls, job_id, millis, polling_wait,
    polling_wait_with, request, seconds, spawn_attach, spawn_wait,
};

/// The requests that have come by now. tokio lets a task do some hundred operations before it has to yield.
async fn received(daemon: &mut ScriptedDaemon) -> Vec<ReceivedRequest> {
    let mut received = Vec::new();
    while let Some(request) = daemon.next_now().await {
        received.push(request);
        yield_now().await;
    }
    received
}

#[tokio::test(start_paused = true)]
async fn reserved_polls_wait_for_end_of_pause_and_keep_order_and_rate() {
    let (wait, mut daemon) = polling_wait();
    let waits: Vec<_> = (0..2_000).map(|job| spawn_attach(&wait, &job.to_string())).collect();
    // The polls of one second go out at once. The others have reserved the 9 s after that.
    for _ in 0..200 {
        daemon.next_get().await.refuse(429, 30);
    }
    daemon.quiet_for(millis(29_990)).await;
    for (nth, job) in (200..2_000).enumerate() {
        let poll = daemon.next_get().await;
        let expected = seconds(30) + millis(5) * (u32::try_from(nth).unwrap() + 1);
        assert_eq!((poll.job(), poll.at), (job.to_string(), expected));
        poll.respond_state("done");
    }
    // The refused ones come after them.
    for _ in 0..200 {
        let poll = daemon.next_get().await;
        assert!((seconds(39)..=seconds(41)).contains(&poll.at), "{:?}", poll.at);
        poll.respond_state("done");
    }
    for wait in waits {
        assert!(wait.await.unwrap().is_ok());
    }
}

/// A wait whose poll was refused for 30 s while others had reserved theirs, one a second.
async fn refused_with_reserved(others: usize) -> (MockWait, ScriptedDaemon, WaitTask, Vec<WaitTask>) {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.poll_policy(exact_polls().max_rate(1).build().unwrap()));
    let first = spawn_attach(&wait, "first");
    let poll = daemon.next_get().await;
    let others = (0..others).map(|job| spawn_attach(&wait, &job.to_string())).collect();
    daemon.settle().await;
    poll.refuse(429, 30);
    (wait, daemon, first, others)
}

#[tokio::test(start_paused = true)]
async fn second_refusal_extends_pause_of_reserved_polls() {
    let (_wait, mut daemon, first, others) = refused_with_reserved(3).await;
    daemon.quiet_for(millis(30_999)).await;
    daemon.next_get().await.refuse(503, 10);
    for at in [42, 43] {
        let poll = daemon.next_get().await;
        assert_eq!(poll.at, seconds(at));
        poll.respond_state("running");
    }
    others.iter().chain([&first]).for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn dropped_reservations_do_not_shorten_pause() {
    let (wait, mut daemon, first, reserved) = refused_with_reserved(25).await;
    daemon.settle().await;
    reserved.iter().for_each(tokio::task::JoinHandle::abort);
    daemon.settle().await;
    let late = spawn_attach(&wait, "late");
    let poll = daemon.next_get().await;
    assert!((seconds(30)..=seconds(32)).contains(&poll.at), "{:?}", poll.at);
    first.abort();
    late.abort();
}

/// Polls each once.
async fn poll_all<F: Future<Output: std::fmt::Debug>>(waits: &mut [Spawn<F>]) {
    for wait in waits {
        assert!(wait.poll().is_pending());
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn overdue_polls_wait_for_end_of_pause() {
    // What the caller does in the 5 s before the pause, and in the first 5 s of it, when nobody polls the waits. Their moments
    // come before the pause; some of them have become overdue before it; or all come in the pause.
    for (before, overdue_before) in [(seconds(5), false), (seconds(5), true), (seconds(0), false)] {
        let (wait, mut daemon) = polling_wait();
        let mut waits: Vec<_> = (0..600).map(|job| spawn(wait.attach().oneshot(job_id(&job.to_string())))).collect();
        poll_all(&mut waits).await;
        let mut in_flight = received(&mut daemon).await;
        assert_eq!(in_flight.len(), 200);
        advance(before).await;
        if overdue_before {
            // 200 overdue polls go out at once, and 200 wait for their turn.
            poll_all(&mut waits).await;
            in_flight.append(&mut received(&mut daemon).await);
            assert_eq!(in_flight.len(), 400);
        }
        in_flight.into_iter().for_each(|poll| poll.refuse(429, 60));
        for _ in 0..2 {
            poll_all(&mut waits).await;
            let polls = received(&mut daemon).await.len();
            assert_eq!(polls, 0, "{before:?} before the pause, overdue before it: {overdue_before}");
            sleep(seconds(5)).await;
        }
        // After the pause they keep the rate.
        sleep(seconds(50)).await;
        let (mut polls, ends) = (Vec::new(), daemon.elapsed());
        for _ in 0..40 {
            poll_all(&mut waits).await;
            polls.append(&mut received(&mut daemon).await);
            let most = (daemon.elapsed() - ends).as_millis() / 5 + 20;
            assert!(polls.len() as u128 <= most, "{} polls, at most {most}", polls.len());
            sleep(millis(100)).await;
        }
        assert_eq!(polls.len(), 600);
    }
}

#[tokio::test(start_paused = true)]
async fn final_poll_and_hint_do_not_wait_for_end_of_pause() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer.deadline(seconds(20)));
    let waiting = spawn_attach(&wait, "7");
    daemon.next_get().await.refuse(429, 30);
    let poll = daemon.next_get().await;
    assert_eq!(poll.at, seconds(20));
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());

    let mut harness = WebhookHarness::unsigned();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let callback = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.refuse(429, 60);
    harness.daemon.quiet_for(seconds(5)).await;
    harness.event(&callback, "7", "done").await;
    let poll = harness.daemon.next_get().await;
    assert_eq!(poll.at, seconds(5));
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}
