use std::time::Duration;

use foreman_client::Error;
use foreman_client::api::{CancelJob, ListJobs};
use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, InjectedResponse, Times};
use tokio::io::AsyncReadExt as _;
use tower::ServiceExt as _;

use super::super::raw::{self, get, send};
use super::{LONG, Rig, Webhooks, request};
use crate::eventually::bounded;

#[tokio::test]
async fn lost_response_is_retried_and_job_runs_once() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.warm_up(&jobs).await;
    rig.faults.submissions().lose_responses(Times::Next(2));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((2, 2), 2));
    assert_eq!(rig.faults.seen().lost_responses, 2);
}

#[tokio::test]
async fn event_recovers_lost_response() {
    let (rig, webhooks) = (Rig::start().await, Webhooks::listen().await);
    rig.faults.submissions().lose_responses(Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(webhooks.endpoint.clone()).lost_response_window(LONG));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed, jobs.stats().lost_responses), ((1, 1), 0, 1));
    assert_eq!(rig.faults.seen().lost_responses, 1);
}

#[tokio::test]
async fn lost_response_closes_connection_without_a_byte_and_job_exists() {
    let faults = Faults::new();
    let daemon = Daemon::builder().faults(faults.clone()).start().await.unwrap();
    faults.submissions().lose_responses(Times::Next(1));
    // An error response is not lost, and does not count.
    raw::post(&daemon, "/jobs", &[], "{}").await.refused(422);
    let body = r#"{"model":"m","messages":[]}"#;
    let post = raw::request("POST", "/jobs", &["Content-Type: application/json"], body);
    let mut response = Vec::new();
    send(daemon.local_addr(), post).await.read_to_end(&mut response).await.unwrap();
    assert!(response.is_empty(), "{response:?}");
    assert_eq!((daemon.stats().accepted, faults.seen().lost_responses), (1, 1));
    raw::submit(&daemon, "the next one").await;
    assert_eq!(daemon.stats().accepted, 2);
}

#[tokio::test]
async fn responses_to_polls_and_to_all_requests_can_be_lost() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().lose_responses(Times::Next(3));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.faults.seen().lost_responses, jobs.stats().poll_failures), (3, 3));

    rig.faults.requests().lose_responses(Times::UntilCleared);
    for _ in 0..2 {
        let error = rig.api().oneshot(ListJobs::new()).await.unwrap_err();
        assert!(error.is_retryable() && error.status().is_none(), "{error}");
    }
    rig.faults.requests().clear();
    assert_eq!(rig.api().oneshot(ListJobs::new()).await.unwrap().jobs.len(), 1);
    assert_eq!(rig.faults.seen().lost_responses, 5);
}

#[tokio::test]
async fn rejected_submission_is_retried_and_runs_once() -> Result<(), Error> {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.submissions().reject(InjectedResponse::new(503)?.retry_after(Duration::ZERO), Times::Next(3));
    rig.gate.open(1);
    let result = bounded(jobs.oneshot(request())).await?;
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((1, 1), 0));
    assert_eq!(rig.faults.seen().rejected_submissions, 3);
    Ok(())
}

#[tokio::test]
async fn wait_survives_outage_of_polls() -> Result<(), Error> {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().reject(InjectedResponse::new(500)?, Times::UntilCleared);
    rig.gate.open(1);
    let wait = tokio::spawn(jobs.clone().oneshot(request()));
    let seen = bounded(rig.faults.until(|seen| seen.rejected_polls >= 5)).await;
    assert!(seen.rejected_polls >= 5 && !wait.is_finished());
    rig.faults.clear();
    rig.ran_once(&bounded(wait).await.unwrap()?).await;
    assert!(jobs.stats().poll_failures >= 4);
    Ok(())
}

#[tokio::test]
async fn job_unknown_right_after_202_is_waited_for() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().not_found(Times::Next(4));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.faults.seen().rejected_polls, jobs.stats().poll_failures), (4, 4));
}

#[tokio::test]
async fn job_goes_on_after_rejected_cancel() -> Result<(), Error> {
    let rig = Rig::start().await;
    let id = raw::id(&raw::submit(&rig.daemon, "hi").await);
    rig.gate.begun().await;
    rig.faults.cancels().reject(InjectedResponse::new(500)?, Times::Next(1));
    let error = rig.api().oneshot(CancelJob(id.clone())).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(500));
    assert_eq!((rig.faults.seen().rejected_cancels, rig.daemon.stats().cancelled), (1, 0));
    assert_eq!(rig.api().oneshot(CancelJob(id)).await?.error.as_deref(), Some("cancelled"));
    Ok(())
}

#[tokio::test]
async fn rejection_comes_before_checks_and_own_kind_before_all() -> Result<(), foreman_daemon::Error> {
    let faults = Faults::new();
    let daemon = Daemon::builder().token("hush").faults(faults.clone()).start().await?;
    faults.requests().reject(InjectedResponse::new(502)?, Times::UntilCleared);
    faults.polls().reject(InjectedResponse::new(429)?.retry_after(Duration::from_millis(1500)), Times::Next(1));
    // Neither request has a token, and the body is not JSON.
    let response = get(&daemon, "/jobs/7", &[]).await;
    assert_eq!((response.refused(429).as_str(), response.header("retry-after")), ("injected fault", Some("2")));
    for response in [get(&daemon, "/jobs/7", &[]).await, raw::post(&daemon, "/jobs", &[], "").await] {
        response.refused(502);
        assert_eq!(response.header("retry-after"), None);
    }
    get(&daemon, "/api/tags", &[]).await.refused(502);
    // Health checks have no faults.
    assert_eq!(get(&daemon, "/healthz", &[]).await.status, 200);
    let seen = faults.seen();
    assert_eq!((seen.rejected_polls, seen.rejected_submissions, seen.rejected_others), (2, 1, 1));
    faults.clear();
    get(&daemon, "/jobs/7", &[]).await.refused(401);
    assert_eq!(faults.seen(), seen);
    Ok(())
}
