//! `Submission` handles.

use foreman_client::{Error, JobResult, JobState, StateChange, SubmitRequest, Via};
use futures_util::{FutureExt, StreamExt};

use foreman_client::retry::Reattach;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::support::{WebhookHarness, bounded_paused, call_wait, millis, polling_wait, request, seconds, spawn_wait};

fn states_of(changes: &[Result<StateChange, Error>]) -> Vec<(String, Via)> {
    changes.iter().map(|change| change.as_ref().unwrap()).map(|change| (change.state.to_string(), change.via)).collect()
}

fn expected(states: &[(&str, Via)]) -> Vec<(String, Via)> {
    states.iter().map(|(state, via)| ((*state).to_owned(), *via)).collect()
}

#[tokio::test(start_paused = true)]
async fn accepted_resolves_with_the_202() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let submission = request.submission();
    let accepted = tokio::spawn({
        let submission = submission.clone();
        async move { submission.accepted().await }
    });
    let waiting = spawn_wait(&wait, &request);
    let post = daemon.next_post().await;
    assert_eq!((submission.job_id(), submission.last_state()), (None, None));
    post.accept("7");
    assert_eq!(bounded_paused(accepted).await.unwrap().unwrap().as_str(), "7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    drop(request);
    assert_eq!(bounded_paused(submission.accepted()).await.unwrap().as_str(), "7");
    assert_eq!(submission.last_state(), Some(JobState::Done));
}

#[tokio::test(start_paused = true)]
async fn states_are_deduplicated_with_first_source() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let states = request.submission().states();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("queued");
    harness.daemon.settle().await;
    harness.event(&url, "7", "queued").await;
    harness.daemon.next_get().await.respond_state("queued");
    harness.event(&url, "7", "running").await;
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.settle().await;
    harness.event(&url, "7", "running").await;
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    harness.event(&url, "7", "done").await;
    let changes: Vec<_> = bounded_paused(states.collect()).await;
    assert_eq!(states_of(&changes), expected(&[("queued", Via::Poll), ("running", Via::Webhook), ("done", Via::Poll)]));
}

#[tokio::test(start_paused = true)]
async fn reordered_events_do_not_revert_state() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let submission = request.submission();
    let states = submission.states();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.settle().await;
    harness.event(&url, "7", "running").await;
    harness.event(&url, "7", "queued").await;
    assert_eq!(submission.last_state(), Some(JobState::Running));
    harness.event(&url, "7", "done").await;
    harness.event(&url, "7", "running").await;
    assert!(waiting.await.unwrap().is_ok());
    let changes: Vec<_> = bounded_paused(states.collect()).await;
    assert_eq!(states_of(&changes), expected(&[("running", Via::Webhook), ("done", Via::Webhook)]));
}

#[tokio::test(start_paused = true)]
async fn new_attempt_repeats_states() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let states = request.submission().states();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    for (state, attempt) in [("queued", 0), ("running", 1), ("queued", 1), ("running", 2), ("running", 1), ("done", 2)]
    {
        let body = format!(r#"{{"job_id":"7","state":"{state}","attempt":{attempt}}}"#);
        daemon.next_get().await.respond(200, body);
    }
    assert!(waiting.await.unwrap().is_ok());
    let changes: Vec<_> = bounded_paused(states.map(|change| change.unwrap().state.to_string()).collect()).await;
    assert_eq!(changes, ["queued", "running", "queued", "running", "done"]);
}

#[tokio::test(start_paused = true)]
async fn positions_come_while_the_job_is_queued() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let states = request.submission().states();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    for (state, position) in [("queued", "3"), ("queued", "3"), ("queued", "1"), ("queued", "null"), ("done", "null")] {
        let body = format!(r#"{{"job_id":"7","state":"{state}","position":{position}}}"#);
        daemon.next_get().await.respond(200, body);
    }
    assert!(waiting.await.unwrap().is_ok());
    let seen: Vec<_> = bounded_paused(states.map(|change| change.unwrap()).collect()).await;
    let seen: Vec<_> = seen.iter().map(|change| (change.state.as_str(), change.position)).collect();
    assert_eq!(seen, [("queued", Some(3)), ("queued", Some(1)), ("done", None)]);
}

#[tokio::test(start_paused = true)]
async fn late_stream_starts_at_current_state() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let waiting = spawn_wait(&harness.wait, &request);
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "7", "running").await;
    post.accept("7");
    harness.daemon.settle().await;
    let mut late = request.submission().states();
    let first = bounded_paused(late.next()).await.unwrap().unwrap();
    assert_eq!((first.state, first.via), (JobState::Running, Via::Webhook));
    harness.daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(bounded_paused(late.next()).await.unwrap().unwrap().state, JobState::Done);
    assert!(bounded_paused(late.next()).await.is_none());

    let mut later = request.submission().states();
    assert_eq!(bounded_paused(later.next()).await.unwrap().unwrap().via, Via::Webhook);
    let results = [
        bounded_paused(later.next()).await.map(|change| change.unwrap().state),
        bounded_paused(later.next()).await.map(|change| change.unwrap().state),
    ];
    assert_eq!(results, [Some(JobState::Done), None]);
}

#[tokio::test(start_paused = true)]
async fn all_streams_yield_all_states() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let streams: Vec<_> = (0..3).map(|_| request.submission().states()).collect();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    for state in ["queued", "running", "done"] {
        daemon.next_get().await.respond_state(state);
    }
    assert!(waiting.await.unwrap().is_ok());
    for states in streams {
        let states: Vec<_> = bounded_paused(states.map(|change| change.unwrap().state.to_string()).collect()).await;
        assert_eq!(states, ["queued", "running", "done"]);
    }
}

/// The caller holds the request.
#[tokio::test(start_paused = true)]
async fn handles_end_with_the_error_of_the_last_wait() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let submission = request.submission();
    let accepted = tokio::spawn({
        let submission = submission.clone();
        async move { bounded_paused(submission.accepted()).await }
    });
    let states = tokio::spawn(bounded_paused(submission.states().collect::<Vec<_>>()));
    let (one, other) = (spawn_wait(&wait, &request), spawn_wait(&wait, &request));
    daemon.next_post().await.respond(422, r#"{"error":"no such model"}"#);
    assert!(one.await.unwrap().unwrap_err().is_rejected());
    daemon.settle().await;
    assert!(!accepted.is_finished() && !states.is_finished(), "another wait is left");
    daemon.next_post().await.respond(422, r#"{"error":"no such model"}"#);
    assert!(other.await.unwrap().unwrap_err().is_rejected());
    let error = accepted.await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.may_be_running()), (Some("no such model"), false));
    let states = states.await.unwrap();
    assert!(matches!(&states[..], [Err(error)] if error.is_rejected()), "{states:?}");

    // Another wait begins anew.
    let waiting = spawn_wait(&wait, &request);
    let post = daemon.next_post().await;
    let accepted = bounded_paused(submission.accepted());
    assert_eq!(tokio::join!(accepted, async { post.accept("7") }).0.unwrap().as_str(), "7");
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn handles_outlive_the_waits_of_a_retry() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let submission = request.submission();
    let stack = ServiceBuilder::new().retry(Reattach::default()).timeout(seconds(2)).service(wait);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request.clone())));
    let states = tokio::spawn(bounded_paused(submission.states().collect::<Vec<_>>()));
    daemon.next_post().await.respond(429, "");
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    // The timeout drops this wait.
    let _poll = daemon.next_get().await;
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(states_of(&states.await.unwrap()), expected(&[("running", Via::Poll), ("done", Via::Poll)]));
}

/// The caller drops the call, and holds the request.
#[tokio::test(start_paused = true)]
async fn handles_end_if_a_retry_is_dropped_in_its_pause() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let stack = ServiceBuilder::new().timeout(millis(100)).retry(Reattach::default()).service(wait);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request.clone())));
    let accepted = tokio::spawn({
        let submission = request.submission();
        async move { bounded_paused(submission.accepted()).await }
    });
    daemon.next_post().await.respond(429, "");
    assert!(waiting.await.unwrap().is_err());
    assert!(accepted.await.unwrap().unwrap_err().is_overloaded());
}

#[tokio::test(start_paused = true)]
async fn handles_end_with_last_request_and_wait() {
    for sent in [false, true] {
        let mut harness = WebhookHarness::signed();
        let request = request();
        let submission = request.submission();
        let (accepted, states) = (submission.accepted(), submission.states().collect::<Vec<_>>());
        let mut both = tokio_test::task::spawn(futures_util::future::join(accepted, states));
        assert!(both.poll().is_pending());
        let mut waiting = tokio_test::task::spawn(call_wait(&harness.wait, request.clone()).await);
        if sent {
            assert!(waiting.poll().is_pending());
            let _post = harness.daemon.next_post().await;
        }
        drop(request);
        assert!(both.poll().is_pending() && harness.notifier.waiting() == usize::from(sent));
        drop(waiting);
        assert!(both.is_woken());
        let (accepted, states) = both.now_or_never().unwrap();
        assert!(states.is_empty());
        let error = accepted.unwrap_err();
        assert_eq!((error.is_maybe_submitted(), error.may_be_running()), (sent, sent), "{error}");
        assert_eq!(harness.notifier.waiting(), 0);
        assert_eq!(submission.job_id(), None);
    }
}

/// Two waits on one request: the first is refused, and the second sends and is dropped. The reason of the first remains.
#[tokio::test(start_paused = true)]
async fn reason_of_refused_wait_is_not_safe_after_another_has_sent() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let (submission, mut states) = (request.submission(), request.submission().states());
    let mut refused = tokio_test::task::spawn(call_wait(&wait, request.clone()).await);
    let mut dropped = tokio_test::task::spawn(call_wait(&wait, request.clone()).await);
    assert!(refused.poll().is_pending() && dropped.poll().is_pending());
    daemon.next_post().await.respond(429, "");
    let std::task::Poll::Ready(Err(error)) = refused.poll() else { panic!("refused") };
    assert!(error.is_safe_to_resubmit());
    assert!(dropped.poll().is_pending());
    let _post = daemon.next_post().await;
    drop((refused, dropped));
    let errors = [submission.accepted().await.unwrap_err(), states.next().await.unwrap().unwrap_err()];
    for error in errors {
        assert!(!error.is_safe_to_resubmit() && error.may_be_running() && error.is_overloaded(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn accepted_ends_when_reattach_starts_no_other_wait() {
    for dropped in [true, false] {
        let (wait, mut daemon) = polling_wait();
        let (gate, mut calls) = tower_test::mock::pair::<SubmitRequest, JobResult>();
        calls.allow(1);
        let forward = tokio::spawn(async move {
            let (request, response) = calls.next_request().await.unwrap();
            match wait.oneshot(request).await {
                Ok(result) => response.send_response(result),
                Err(error) => response.send_error(error),
            }
            if !dropped {
                tokio::time::sleep(seconds(2)).await;
                calls.send_error("closed");
            }
            std::future::pending::<()>().await;
        });
        let request = request();
        let submission = request.submission();
        let stack = ServiceBuilder::new().retry(Reattach::default()).service(gate);
        let called = tokio::spawn(bounded_paused(stack.oneshot(request.clone())));
        daemon.next_post().await.respond(429, "");
        // The pause is over, and the service below the policy is not ready.
        tokio::time::sleep(seconds(1)).await;
        if dropped {
            called.abort();
        } else {
            assert!(called.await.unwrap().is_err());
        }
        let error = bounded_paused(submission.accepted()).await.unwrap_err();
        assert!(error.is_overloaded() && error.is_safe_to_resubmit(), "{error:?}");
        forward.abort();
    }
}
