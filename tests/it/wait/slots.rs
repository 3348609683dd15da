//! The places that waits take in the notifier, and when they give them back.

use foreman_client::{JobWait, Notifier};

use crate::support::{Pushed, TestApi, begin, called, exact, request, seconds};

type Wait = tokio_test::task::Spawn<JobWait<TestApi, TestApi>>;

/// How far a wait is driven before it is dropped.
const PHASES: [&str; 7] = ["called", "sending", "behind", "lost", "polling", "pausing", "ended"];

/// A wait in that phase, and whatever must stay alive for it to be in it.
async fn driven(it: &mut Pushed, request: &foreman_client::SubmitRequest, phase: &str) -> (Wait, Vec<Wait>) {
    let mut first = tokio_test::task::spawn(called(&it.wait, request.clone()).await);
    if phase == "called" {
        return (first, Vec::new());
    }
    assert!(first.poll().is_pending());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    if phase == "sending" {
        return (first, Vec::new());
    }
    if phase == "behind" {
        let mut second = tokio_test::task::spawn(called(&it.wait, request.clone()).await);
        assert!(second.poll().is_pending());
        return (second, vec![first]);
    }
    if phase == "lost" {
        post.reset();
        assert!(first.poll().is_pending());
        return (first, Vec::new());
    }
    post.accept("7");
    assert!(first.poll().is_pending());
    let asked = it.daemon.get().await;
    if phase == "polling" {
        return (first, Vec::new());
    }
    asked.tell("running");
    assert!(first.poll().is_pending());
    if phase == "ended" {
        it.event(&url, "7", "done").await;
        assert!(first.poll().is_ready());
    }
    (first, Vec::new())
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_freed_when_the_last_clone_and_the_last_wait_are_gone_and_not_before() {
    for phase in PHASES {
        for request_goes_first in [true, false] {
            let mut it = Pushed::signed();
            let request = request();
            let other_clone = request.clone();
            assert_eq!(it.notifier.waiting(), 0, "{phase}");
            let (wait, behind) = driven(&mut it, &request, phase).await;
            assert_eq!(it.notifier.waiting(), 1, "{phase}");
            drop(request);
            if request_goes_first {
                drop(other_clone);
                assert_eq!(it.notifier.waiting(), 1, "{phase}");
                drop(wait);
                drop(behind);
            } else {
                drop(wait);
                drop(behind);
                assert_eq!(it.notifier.waiting(), 1, "{phase}");
                drop(other_clone);
            }
            assert_eq!(it.notifier.waiting(), 0, "{phase}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waits_that_end_leave_nothing_behind() {
    let mut it = Pushed::signed();
    for failed in [false, true] {
        let waiting = begin(&it.wait, &request());
        let post = it.daemon.post().await;
        if failed {
            post.answer(400, "");
        } else {
            post.accept("7");
            it.daemon.get().await.tell("done");
        }
        assert_eq!(waiting.await.unwrap().is_err(), failed);
        assert_eq!(it.notifier.waiting(), 0);
    }
    assert_eq!(it.wait.stats().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_dropped_waits_leave_nothing_behind() {
    // Without pauses, so that no time passes.
    let policy = exact().max_rate(u32::MAX).build().unwrap();
    let mut it = Pushed::new(Notifier::new(), true, |layer| layer.poll_policy(policy));
    for round in 0..10_000_usize {
        // What a task may do at once is limited, and all this is done by one.
        tokio::task::yield_now().await;
        let request = request();
        let states = request.submission().states();
        let dropped = driven(&mut it, &request, PHASES[round % PHASES.len()]).await;
        drop((dropped, request, states));
    }
    assert_eq!(it.notifier.waiting(), 0);
    let stats = it.wait.stats();
    assert_eq!(stats.waiting(), 0);
    assert_eq!(stats.dropped + stats.finished_by_webhook, stats.started);
}

#[tokio::test(start_paused = true)]
async fn no_room_is_said_before_anything_is_sent() {
    let mut it = Pushed::new(Notifier::with_capacity(1), true, |layer| layer);
    let first_request = request();
    let first = begin(&it.wait, &first_request);
    let post = it.daemon.post().await;

    let second = request();
    let error = begin(&it.wait, &second).await.unwrap().unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && error.is_retryable(), "{error:?}");
    assert_eq!(error.to_string(), "webhook registry full (limit 1)");
    assert_eq!((it.wait.stats().submitted, it.wait.stats().failed), (1, 1));
    it.daemon.quiet_for(seconds(1)).await;

    // A clone of what has a place needs no other.
    let clone = begin(&it.wait, &first_request);
    post.accept("7");
    it.daemon.get().await.tell("done");
    assert!(first.await.unwrap().is_ok() && clone.await.unwrap().is_ok());

    // Once there is room, the request that was refused may be sent after all.
    drop(first_request);
    assert_eq!(it.notifier.waiting(), 0);
    let again = begin(&it.wait, &second);
    it.daemon.next_post().await.accept("8");
    it.daemon.get().await.tell("done");
    assert!(again.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_wait_may_be_dropped_where_no_runtime_is() {
    let it = Pushed::signed();
    let waiting = called(&it.wait, request()).await;
    let notifier = it.notifier.clone();
    std::thread::spawn(move || drop((waiting, it))).join().unwrap();
    assert_eq!(notifier.waiting(), 0);
}
