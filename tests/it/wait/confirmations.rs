//! A job that an event has named, before a response confirms it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use foreman_client::Notifier;
use foreman_client::retry::RetrySubmission;
use foreman_client::wait::WebhookEndpoint;
use tokio_test::task;
use tower::{Layer as _, Service as _, ServiceBuilder, ServiceExt as _};

use crate::support::{
    ReceivedRequest, ScriptedDaemon, WebhookHarness, bounded_paused, call_wait, learn_idempotency, request, seconds,
    spawn_wait,
};

/// The next poll, which is of that job.
async fn next_poll_of(daemon: &mut ScriptedDaemon, job: &str) -> ReceivedRequest {
    let poll = daemon.next_get().await;
    assert_eq!(poll.job(), job);
    poll
}

/// A full queue must not delay the results of running jobs.
#[tokio::test(start_paused = true)]
async fn named_job_is_polled_while_submissions_pause() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let (waiting, url) = harness.lose_response(&request()).await;
    let refused = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.refuse(429, 60);
    assert!(refused.await.unwrap().is_err());
    harness.event(&url, "7", "done").await;
    let poll = next_poll_of(&mut harness.daemon, "7").await;
    assert_eq!(poll.at, seconds(0));
    poll.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn named_job_has_a_last_look_at_the_deadline() {
    for keys in [false, true] {
        let mut harness = WebhookHarness::signed();
        if keys {
            learn_idempotency(&harness.wait, &mut harness.daemon).await;
        }
        // The response does not come: neither before the deadline, nor before the confirmation.
        let deadline = seconds(if keys { 1 } else { 20 });
        let request = request().with_deadline(deadline);
        let waits = [spawn_wait(&harness.wait, &request), spawn_wait(&harness.wait, &request)];
        let post = harness.daemon.next_post().await;
        harness.event(&post.callback().unwrap(), "7", "done").await;
        for _ in 0..2 {
            let poll = next_poll_of(&mut harness.daemon, "7").await;
            assert_eq!(poll.at, deadline);
            poll.respond_state("done");
            harness.daemon.settle().await;
            if waits.iter().all(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        for waiting in waits {
            assert!(waiting.await.unwrap().is_ok(), "keys: {keys}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn late_wait_on_named_job_polls_it() {
    for keys in [false, true] {
        let mut harness = WebhookHarness::signed();
        if keys {
            learn_idempotency(&harness.wait, &mut harness.daemon).await;
        }
        let mut waiting = task::spawn(call_wait(&harness.wait, request().with_deadline(seconds(5))).await);
        assert!(waiting.poll().is_pending());
        let post = harness.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.reset();
        assert!(waiting.poll().is_pending());
        harness.event(&url, "7", "done").await;
        tokio::time::sleep(seconds(6)).await;
        assert!(waiting.poll().is_pending());
        next_poll_of(&mut harness.daemon, "7").await.respond_state("done");
        assert!(bounded_paused(waiting).await.is_ok());
    }
}

/// A handle, and a shutdown, know the job meanwhile.
#[tokio::test(start_paused = true)]
async fn job_id_stays_known_while_it_is_confirmed() {
    let mut harness = WebhookHarness::signed();
    learn_idempotency(&harness.wait, &mut harness.daemon).await;
    let request = request();
    let (waiting, url) = harness.lose_response(&request).await;
    harness.event(&url, "7", "running").await;
    let _again = harness.daemon.next_post().await;
    assert_eq!(request.submission().job_id().unwrap().as_str(), "7");
    let left = bounded_paused(harness.wait.shutdown(seconds(0))).await;
    assert_eq!(left.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>(), ["7"]);
    assert_eq!(waiting.await.unwrap().unwrap_err().job_id().unwrap().as_str(), "7");
}

/// A replayed event names another job, the wait that sends is not polled for long, and then its response comes after all.
#[tokio::test(start_paused = true)]
async fn late_response_corrects_the_job_that_is_polled() {
    for known in [true, false] {
        correct_the_job_that_is_polled(known).await;
    }
}

/// The daemon has the other job, or not.
async fn correct_the_job_that_is_polled(known: bool) {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let mut sender = task::spawn(call_wait(&harness.wait, request.clone()).await);
    assert!(sender.poll().is_pending());
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "8", "running").await;
    let follower = spawn_wait(&harness.wait, &request);
    // Nobody polls the sender, and so the follower presumes its response lost after two minutes.
    harness.event(&post.callback().unwrap(), "8", "done").await;
    let poll = next_poll_of(&mut harness.daemon, "8").await;
    assert_eq!(poll.at, seconds(120));
    post.accept("7");
    harness.daemon.settle().await;
    assert!(sender.poll().is_pending());
    if known {
        poll.respond_state("done");
    } else {
        poll.respond(404, "");
    }
    let mut polls = 0;
    while !follower.is_finished() && polls < 4 {
        next_poll_of(&mut harness.daemon, "7").await.respond_state("done");
        harness.daemon.settle().await;
        polls += 1;
    }
    assert_eq!(follower.await.unwrap().unwrap().job_id().as_str(), "7");
    assert_eq!(bounded_paused(sender).await.unwrap().job_id().as_str(), "7");
}

/// A layer below the wait has moved the retry to a task of its own, which outlives the wait.
#[tokio::test(start_paused = true)]
async fn retry_that_outlives_its_wait_does_not_send() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let retry = ServiceBuilder::new().retry(RetrySubmission::default()).service(api.clone());
    let spawning = tower::service_fn(move |request| {
        let call = tokio::spawn(retry.clone().oneshot(request));
        async move { call.await.unwrap() }
    });
    let wait = foreman_client::WaitLayer::new(api).layer(spawning);
    let request = request();
    let dropped = tokio::spawn(wait.clone().oneshot(request.clone()));
    daemon.next_post().await.respond(429, "");
    daemon.settle().await;
    dropped.abort();
    daemon.settle().await;
    let waiting = tokio::spawn(bounded_paused(wait.oneshot(request)));
    let post = daemon.next_post().await;
    daemon.quiet_for(seconds(5)).await;
    post.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

/// The service that submits is not ready, and the one that polls is.
#[tokio::test(start_paused = true)]
async fn named_job_is_polled_while_the_service_is_not_ready() {
    for deadline in [None, Some(seconds(60))] {
        let (submit, mut submits) = ScriptedDaemon::new();
        let (polls, mut daemon) = ScriptedDaemon::new();
        let notifier = Notifier::new();
        let webhooks = WebhookEndpoint::new(notifier.clone(), "http://here.test/events/").unwrap();
        let layer = foreman_client::WaitLayer::builder(polls).assume_idempotency().webhooks(webhooks);
        let wait = layer.build().unwrap().layer(submit);
        let harness = WebhookHarness::new(notifier, true, |layer| layer);
        let request = request().with_deadline(deadline);
        let waiting = tokio::spawn(bounded_paused(wait.oneshot(request)));
        let post = submits.next_post().await;
        submits.allow(0);
        let url = post.callback().unwrap();
        post.reset();
        // The wait is about to send it again.
        tokio::time::sleep(seconds(1)).await;
        harness.event(&url, "7", "done").await;
        next_poll_of(&mut daemon, "7").await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// Its caller catches the panic and polls the wait again.
#[tokio::test(start_paused = true)]
async fn wait_ends_at_the_deadline_after_a_panic_of_the_resend() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| layer);
    let (api, calls) = (harness.api(), Arc::new(AtomicUsize::new(0)));
    let submit = tower::service_fn(move |request| {
        assert_eq!(calls.fetch_add(1, Relaxed), 0, "a panic of the test");
        api.clone().oneshot(request)
    });
    let webhooks = WebhookEndpoint::new(harness.notifier.clone(), "http://here.test/events/").unwrap();
    let layer = foreman_client::WaitLayer::builder(harness.api()).assume_idempotency().webhooks(webhooks);
    let mut wait = layer.build().unwrap().layer(submit);
    let mut waiting = task::spawn(wait.ready().await.unwrap().call(request().with_deadline(seconds(20))));
    assert!(waiting.poll().is_pending());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.reset();
    assert!(waiting.poll().is_pending());
    tokio::time::sleep(seconds(1)).await;
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waiting.poll())).is_err());
    harness.event(&url, "7", "done").await;
    tokio::time::sleep(seconds(30)).await;
    assert!(waiting.poll().is_pending());
    next_poll_of(&mut harness.daemon, "7").await.respond_state("done");
    assert!(matches!(waiting.poll(), Poll::Ready(Ok(_))));
}
