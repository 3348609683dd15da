//! The submission fails, inside the wait: what may have arrived runs once, and what surely did not is sent again.

use std::time::Duration;

use foreman_client::{Error, SubmitRequest};
use http::Method;
use tower::{ServiceBuilder, ServiceExt as _};

use super::fault::Fault;
use super::rig::{Door, Rig, quick_retries, request, until};
use crate::eventually::bounded;

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// That the last `count` submissions were the same bytes under the same key.
fn assert_same(rig: &Rig, count: usize) {
    let sent = rig.faults.sent(&Method::POST);
    let last = &sent[sent.len() - count..];
    assert!(last[0].key.is_some() && last.iter().all(|sent| *sent == last[0]), "{last:?}");
}

fn assert_left_open(error: &Error, request: &SubmitRequest) {
    assert!(error.is_maybe_submitted() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error}");
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));
}

#[tokio::test]
async fn polling_a_lost_answer_is_asked_for_again_under_the_same_key_if_keys_are_kept() {
    for fault in [Fault::LoseAnswer, Fault::Reset, Fault::Answer(503, None), Fault::Answer(500, None)] {
        let rig = Rig::start().await;
        let jobs = rig.jobs(rig.waits());
        rig.warm_up(&jobs).await;
        let arrived = matches!(fault, Fault::LoseAnswer);
        rig.faults.posts([fault.clone()]);
        rig.gate.open(1);
        let result = bounded(jobs.oneshot(request())).await.unwrap();
        assert_eq!(rig.daemon.executions(&result.job_id).await, 1, "{fault:?}");
        assert_eq!(rig.ran(), (2, 2), "{fault:?}");
        assert_eq!(rig.daemon.stats().replayed, u64::from(arrived), "{fault:?}");
        assert_same(&rig, 2);
    }
}

#[tokio::test]
async fn polling_a_lost_answer_is_an_error_if_keys_are_not_kept_and_nothing_is_sent_again() {
    for fault in [Fault::LoseAnswer, Fault::Reset, Fault::Answer(503, None), Fault::Answer(500, None)] {
        let rig = Rig::without_keys().await;
        let jobs = rig.jobs(rig.waits());
        rig.warm_up(&jobs).await;
        let arrived = u64::from(matches!(fault, Fault::LoseAnswer));
        rig.faults.posts([fault.clone()]);
        let request = request();
        assert_left_open(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
        // Nor by another wait on the same submission.
        assert_left_open(&bounded(jobs.oneshot(request.clone())).await.unwrap_err(), &request);
        assert_eq!(rig.posts(), 2, "{fault:?}");
        until(|| rig.ran() == (1 + arrived, 1 + arrived)).await;
    }
}

#[tokio::test]
async fn what_was_lost_before_keys_were_known_is_found_once_they_are() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    rig.faults.posts([Fault::LoseAnswer]);
    let request = request();
    assert_left_open(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
    let lost = rig.gate.begun().await;

    let other = super::rig::request();
    let other = tokio::spawn(jobs.clone().oneshot(other));
    rig.gate.begun().await;
    rig.gate.open(2);
    bounded(other).await.unwrap().unwrap();

    let result = bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!(&result.job_id, lost.job_id());
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((2, 2), 1));
}

#[tokio::test]
async fn with_push_the_first_event_names_the_job_whose_answer_was_lost() {
    for keys in [true, false] {
        let rig = if keys { Rig::start().await } else { Rig::without_keys().await };
        let door = Door::open().await;
        let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).lost_response_window(LONG));
        rig.warm_up(&jobs).await;
        rig.faults.posts([Fault::LoseAnswer]);
        rig.gate.open(1);
        let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
        assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
        assert_eq!((rig.ran(), rig.posts()), ((2, 2), 2));
        assert_eq!((jobs.stats().lost_responses, jobs.stats().submitted), (1, 2));
        assert_eq!(door.notifier.waiting(), 0);
    }
}

#[tokio::test]
async fn with_push_and_no_event_within_the_window_it_is_sent_again_if_keys_are_kept() {
    let rig = Rig::start().await;
    let door = Door::open().await;
    door.receiver.close();
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).lost_response_window(SHORT));
    rig.warm_up(&jobs).await;
    rig.faults.posts([Fault::LoseAnswer, Fault::LoseAnswer]);
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!((rig.ran(), rig.posts(), rig.daemon.stats().replayed), ((2, 2), 4, 2));
    assert_same(&rig, 3);
    assert_eq!(door.notifier.waiting(), 0);
}

#[tokio::test]
async fn with_push_and_no_event_within_the_window_it_is_an_error_if_keys_are_not_kept() {
    let rig = Rig::without_keys().await;
    let door = Door::open().await;
    door.receiver.close();
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).lost_response_window(SHORT));
    rig.warm_up(&jobs).await;
    rig.faults.posts([Fault::LoseAnswer]);
    let request = request();
    assert_left_open(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);
    assert_eq!(rig.posts(), 2);
    until(|| rig.ran() == (2, 2)).await;
    drop(request);
    assert_eq!(door.notifier.waiting(), 0);
}

#[tokio::test]
async fn what_surely_did_not_arrive_is_sent_again_without_any_keys() {
    let rig = Rig::without_keys().await;
    let jobs = rig.jobs(rig.waits());
    let faults = [Fault::Answer(503, Some(0)), Fault::Answer(429, None), Fault::Refuse, Fault::Answer(425, None)];
    rig.faults.posts(faults);
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!((rig.ran(), rig.posts()), ((1, 1), 5));
    assert_same(&rig, 5);
    assert_eq!(jobs.stats().lost_responses, 0);
}

#[tokio::test]
async fn what_never_arrives_is_an_error_that_says_so() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    rig.faults.posts(std::iter::repeat_n(Fault::Refuse, 5));
    let request = request();
    let error = bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_connect() && !error.may_be_running(), "{error}");
    // Nothing is known against sending it later.
    rig.gate.open(1);
    bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!((rig.ran(), rig.posts()), ((1, 1), 6));
}

#[tokio::test]
async fn a_timeout_inside_that_cuts_the_answer_is_a_lost_answer() {
    let rig = Rig::start().await;
    let jobs = ServiceBuilder::new()
        .layer(rig.waits().build().unwrap())
        .retry(quick_retries())
        .timeout(Duration::from_millis(500))
        .service(rig.api());
    rig.gate.open(2);
    bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.faults.posts([Fault::Swallow]);
    let result = bounded(jobs.oneshot(request())).await.unwrap();
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!(rig.ran(), (2, 2));
    assert_same(&rig, 2);
}

#[tokio::test]
async fn what_was_lost_once_is_not_called_unsent_when_later_attempts_are_refused() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    rig.warm_up(&jobs).await;
    rig.faults.posts([Fault::LoseAnswer].into_iter().chain(std::iter::repeat_n(Fault::Refuse, 4)));
    let request = request();
    let error = bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err();
    assert_left_open(&error, &request);
    assert!(error.is_retryable() && error.is_connect(), "{error}");
    assert_eq!((jobs.stats().lost_responses, rig.posts()), (1, 6));

    // The same where the wait sends again itself.
    rig.faults.posts(std::iter::repeat_n(Fault::Refuse, 5));
    assert_left_open(&bounded(jobs.clone().oneshot(request.clone())).await.unwrap_err(), &request);

    rig.gate.open(1);
    let result = bounded(jobs.oneshot(request)).await.unwrap();
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((2, 2), 1));
}
