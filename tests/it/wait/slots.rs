//! The slots of waits in the notifier, and when they are freed.

use foreman_client::{JobWait, Notifier};

use crate::support::{MockApi, WebhookHarness, call_wait, exact_polls, request, seconds, spawn_wait};

type Wait = tokio_test::task::Spawn<JobWait<MockApi, MockApi>>;

/// The phases in which a wait is dropped.
const PHASES: [&str; 7] = ["called", "sending", "queued", "lost", "polling", "pausing", "ended"];

/// A wait in that phase, and the other waits that it needs.
async fn wait_in(
    harness: &mut WebhookHarness,
    request: &foreman_client::SubmitRequest,
    phase: &str,
) -> (Wait, Vec<Wait>) {
    let mut first = tokio_test::task::spawn(call_wait(&harness.wait, request.clone()).await);
    if phase == "called" {
        return (first, Vec::new());
    }
    assert!(first.poll().is_pending());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    if phase == "sending" {
        return (first, Vec::new());
    }
    if phase == "queued" {
        let mut second = tokio_test::task::spawn(call_wait(&harness.wait, request.clone()).await);
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
    let poll = match harness.daemon.next_now().await {
        Some(poll) => poll,
        // Webhooks work.
        None => {
            tokio::time::advance(seconds(31)).await;
            assert!(first.poll().is_pending());
            harness.daemon.next_get().await
        }
    };
    if phase == "polling" {
        return (first, Vec::new());
    }
    poll.respond_state("running");
    assert!(first.poll().is_pending());
    if phase == "ended" {
        harness.event(&url, "7", "done").await;
        assert!(first.poll().is_ready());
    }
    (first, Vec::new())
}

#[tokio::test(start_paused = true)]
async fn slot_is_freed_with_last_clone_and_wait() {
    for phase in PHASES {
        for request_goes_first in [true, false] {
            let mut harness = WebhookHarness::signed();
            let request = request();
            let other_clone = request.clone();
            assert_eq!(harness.notifier.waiting(), 0, "{phase}");
            let (wait, others) = wait_in(&mut harness, &request, phase).await;
            // A wait registers when it claims the submission, at its first poll.
            let registered = usize::from(phase != "called");
            assert_eq!(harness.notifier.waiting(), registered, "{phase}");
            drop(request);
            if request_goes_first {
                drop(other_clone);
                assert_eq!(harness.notifier.waiting(), registered, "{phase}");
                drop(wait);
                drop(others);
            } else {
                drop(wait);
                drop(others);
                assert_eq!(harness.notifier.waiting(), registered, "{phase}");
                drop(other_clone);
            }
            assert_eq!(harness.notifier.waiting(), 0, "{phase}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn finished_waits_free_slots() {
    let mut harness = WebhookHarness::signed();
    for failed in [false, true] {
        let waiting = spawn_wait(&harness.wait, &request());
        let post = harness.daemon.next_post().await;
        if failed {
            post.respond(400, "");
        } else {
            post.accept("7");
            harness.daemon.next_get().await.respond_state("done");
        }
        assert_eq!(waiting.await.unwrap().is_err(), failed);
        assert_eq!(harness.notifier.waiting(), 0);
    }
    assert_eq!(harness.wait.stats().waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_waits_free_slots() {
    // Without pauses, so that no time passes.
    let policy = exact_polls().max_rate(u32::MAX).build().unwrap();
    let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| layer.poll_policy(policy));
    for round in 0..10_000_usize {
        // A task has a budget of work per poll.
        tokio::task::yield_now().await;
        let request = request();
        let states = request.submission().states();
        let dropped = wait_in(&mut harness, &request, PHASES[round % PHASES.len()]).await;
        drop((dropped, request, states));
    }
    assert_eq!(harness.notifier.waiting(), 0);
    let stats = harness.wait.stats();
    assert_eq!(stats.waiting(), 0);
    assert_eq!(stats.dropped + stats.finished_by_webhook, stats.started);
}

#[tokio::test(start_paused = true)]
async fn full_registry_fails_before_sending() {
    let mut harness = WebhookHarness::new(Notifier::with_capacity(1), true, |layer| layer);
    let first_request = request();
    let first = spawn_wait(&harness.wait, &first_request);
    let post = harness.daemon.next_post().await;

    let second = request();
    let error = spawn_wait(&harness.wait, &second).await.unwrap().unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && error.is_retryable(), "{error:?}");
    assert_eq!(error.to_string(), "webhook registry full (limit 1)");
    assert_eq!((harness.wait.stats().submitted, harness.wait.stats().failed), (1, 1));
    harness.daemon.quiet_for(seconds(1)).await;

    // A clone of the first request uses its slot.
    let clone = spawn_wait(&harness.wait, &first_request);
    post.accept("7");
    harness.daemon.next_get().await.respond_state("done");
    assert!(first.await.unwrap().is_ok() && clone.await.unwrap().is_ok());

    // With a free slot the rejected request can be sent.
    drop(first_request);
    assert_eq!(harness.notifier.waiting(), 0);
    let again = spawn_wait(&harness.wait, &second);
    harness.daemon.skip_to_post().await.accept("8");
    harness.daemon.next_get().await.respond_state("done");
    assert!(again.await.unwrap().is_ok());
}

#[tokio::test]
async fn drop_outside_runtime_frees_slot() {
    let harness = WebhookHarness::signed();
    let waiting = call_wait(&harness.wait, request()).await;
    let notifier = harness.notifier.clone();
    std::thread::spawn(move || drop((waiting, harness))).join().unwrap();
    assert_eq!(notifier.waiting(), 0);
}
