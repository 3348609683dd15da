//! Submissions that fail inside the wait: a job that may have arrived runs once, and an unsent one is sent again.

use foreman_client::{Error, SubmitRequest};
use http::Method;
use tower::{ServiceBuilder, ServiceExt as _};

use crate::support::{
    EmbeddedHarness, EventEndpoint, HttpFault, bounded, eventually, fast_retries, millis, request, seconds,
};

/// Asserts that the last `count` submissions had the same body and the same key.
fn assert_identical(harness: &EmbeddedHarness, count: usize) {
    let sent = harness.faults.sent(&Method::POST);
    let last = &sent[sent.len() - count..];
    assert!(last[0].key.is_some() && last.iter().all(|sent| *sent == last[0]), "{last:?}");
}

fn assert_maybe_submitted(error: &Error, request: &SubmitRequest) {
    assert!(error.is_maybe_submitted() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error}");
    assert_eq!(error.idempotency_key(), Some(&request.submission().idempotency_key()));
}

#[tokio::test]
async fn polling_with_keys_resends_lost_submission() {
    for fault in
        [HttpFault::LoseResponse, HttpFault::Reset, HttpFault::Respond(503, None), HttpFault::Respond(500, None)]
    {
        let harness = EmbeddedHarness::start().await;
        let jobs = harness.jobs(harness.waits());
        harness.learn_idempotency(&jobs).await;
        let arrived = matches!(fault, HttpFault::LoseResponse);
        harness.faults.fail_posts([fault.clone()]);
        harness.gate.open(1);
        let result = bounded(jobs.oneshot(request())).await.unwrap();
        assert_eq!(harness.daemon.executions(result.job_id()).await, 1, "{fault:?}");
        assert_eq!(harness.accepted_and_runs(), (2, 2), "{fault:?}");
        assert_eq!(harness.daemon.stats().replayed, u64::from(arrived), "{fault:?}");
        assert_identical(&harness, 2);
    }
}

#[tokio::test]
async fn polling_without_keys_fails_and_sends_nothing() {
    for fault in
        [HttpFault::LoseResponse, HttpFault::Reset, HttpFault::Respond(503, None), HttpFault::Respond(500, None)]
    {
        let harness = EmbeddedHarness::without_keys().await;
        let jobs = harness.jobs(harness.waits());
        harness.learn_idempotency(&jobs).await;
        let arrived = u64::from(matches!(fault, HttpFault::LoseResponse));
        harness.faults.fail_posts([fault.clone()]);
        let request = request();
        assert_maybe_submitted(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
        // Another wait on the same submission does not send it either.
        assert_maybe_submitted(&bounded(jobs.oneshot(request.clone())).await.unwrap_err(), &request);
        assert_eq!(harness.posts(), 2, "{fault:?}");
        let expected = (1 + arrived, 1 + arrived);
        eventually("all jobs run", || harness.accepted_and_runs() == expected).await;
    }
}

#[tokio::test]
async fn loss_before_keys_are_known_is_recovered_later() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    harness.faults.fail_posts([HttpFault::LoseResponse]);
    let request = request();
    assert_maybe_submitted(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
    let lost = harness.gate.run_started().await;

    let other = tokio::spawn(jobs.clone().oneshot(crate::support::request()));
    harness.gate.run_started().await;
    harness.gate.open(2);
    bounded(other).await.unwrap().unwrap();

    let result = bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!(result.job_id(), lost.job_id());
    assert_eq!((harness.accepted_and_runs(), harness.daemon.stats().replayed), ((2, 2), 1));
}

#[tokio::test]
async fn first_event_names_lost_job() {
    for keys in [true, false] {
        let harness = if keys { EmbeddedHarness::start().await } else { EmbeddedHarness::without_keys().await };
        let endpoint = EventEndpoint::open().await;
        let jobs =
            harness.jobs(harness.waits().webhooks(endpoint.webhooks.clone()).lost_response_window(seconds(3_600)));
        harness.learn_idempotency(&jobs).await;
        harness.faults.fail_posts([HttpFault::LoseResponse]);
        harness.gate.open(1);
        let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
        assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
        // With keys, the same key confirms the id that the event named.
        let sent = if keys { 3 } else { 2 };
        assert_eq!((harness.accepted_and_runs(), harness.posts()), ((2, 2), sent));
        assert_eq!((jobs.stats().lost_responses, jobs.stats().submitted), (1, sent as u64));
        assert_eq!(endpoint.notifier.waiting(), 0);
    }
}

#[tokio::test]
async fn expired_window_with_keys_resends() {
    let harness = EmbeddedHarness::start().await;
    let endpoint = EventEndpoint::open().await;
    endpoint.receiver.close();
    let jobs = harness.jobs(harness.waits().webhooks(endpoint.webhooks.clone()).lost_response_window(millis(1)));
    harness.learn_idempotency(&jobs).await;
    harness.faults.fail_posts([HttpFault::LoseResponse, HttpFault::LoseResponse]);
    harness.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!((harness.accepted_and_runs(), harness.posts(), harness.daemon.stats().replayed), ((2, 2), 4, 2));
    assert_identical(&harness, 3);
    assert_eq!(endpoint.notifier.waiting(), 0);
}

#[tokio::test]
async fn expired_window_without_keys_fails() {
    let harness = EmbeddedHarness::without_keys().await;
    let endpoint = EventEndpoint::open().await;
    endpoint.receiver.close();
    let jobs = harness.jobs(harness.waits().webhooks(endpoint.webhooks.clone()).lost_response_window(millis(1)));
    harness.learn_idempotency(&jobs).await;
    harness.faults.fail_posts([HttpFault::LoseResponse]);
    let request = request();
    assert_maybe_submitted(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
    assert_eq!(harness.posts(), 2);
    eventually("both jobs run", || harness.accepted_and_runs() == (2, 2)).await;
    drop(request);
    assert_eq!(endpoint.notifier.waiting(), 0);
}

#[tokio::test]
async fn unsent_submission_is_resent_without_keys() {
    let harness = EmbeddedHarness::without_keys().await;
    let jobs = harness.jobs(harness.waits());
    let faults = [
        HttpFault::Respond(503, Some(0)),
        HttpFault::Respond(429, None),
        HttpFault::Refuse,
        HttpFault::Respond(425, None),
    ];
    harness.faults.fail_posts(faults);
    harness.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!((harness.accepted_and_runs(), harness.posts()), ((1, 1), 5));
    assert_identical(&harness, 5);
    assert_eq!(jobs.stats().lost_responses, 0);
}

#[tokio::test]
async fn exhausted_retries_are_unsent() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    harness.faults.fail_posts(std::iter::repeat_n(HttpFault::Refuse, 5));
    let request = request();
    let error = bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_connect() && !error.may_be_running(), "{error}");
    // The same request can be sent later.
    harness.gate.open(1);
    bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!((harness.accepted_and_runs(), harness.posts()), ((1, 1), 6));
}

#[tokio::test]
async fn inner_timeout_is_a_lost_response() {
    let harness = EmbeddedHarness::start().await;
    let jobs = ServiceBuilder::new()
        .layer(harness.waits().build().unwrap())
        .retry(fast_retries())
        .timeout(millis(500))
        .service(harness.api());
    harness.gate.open(2);
    bounded(jobs.clone().oneshot(request())).await.unwrap();
    harness.faults.fail_posts([HttpFault::NeverRespond]);
    let result = bounded(jobs.oneshot(request())).await.unwrap();
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!(harness.accepted_and_runs(), (2, 2));
    assert_identical(&harness, 2);
}

#[tokio::test]
async fn refused_attempts_after_loss_are_maybe_submitted() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    harness.learn_idempotency(&jobs).await;
    harness.faults.fail_posts([HttpFault::LoseResponse].into_iter().chain(std::iter::repeat_n(HttpFault::Refuse, 4)));
    let request = request();
    let error = bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err();
    assert_maybe_submitted(&error, &request);
    assert!(error.is_retryable() && error.is_connect(), "{error}");
    assert_eq!((jobs.stats().lost_responses, harness.posts()), (1, 6));

    // The same holds when the wait itself sends again.
    harness.faults.fail_posts(std::iter::repeat_n(HttpFault::Refuse, 5));
    assert_maybe_submitted(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);

    harness.gate.open(1);
    let result = bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!((harness.accepted_and_runs(), harness.daemon.stats().replayed), ((2, 2), 1));
}
