use std::time::Duration;

use foreman_client::Error;
use foreman_client::api::{CancelJob, ListJobs};
use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, Refusal, Times};
use tokio::io::AsyncReadExt as _;
use tower::ServiceExt as _;

use super::super::raw::{self, get, send};
use super::{Door, LONG, Rig, request};
use crate::eventually::bounded;

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_the_job_runs_once() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.warm_up(&jobs).await;
    rig.faults.submissions().lose_answers(Times::Next(2));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((2, 2), 2));
    assert_eq!(rig.faults.seen().lost_answers, 2);
}

#[tokio::test]
async fn a_lost_answer_is_made_good_by_an_event() {
    let (rig, door) = (Rig::start().await, Door::open().await);
    rig.faults.submissions().lose_answers(Times::Next(1));
    let jobs = rig.jobs(rig.waits().webhooks(door.push.clone()).lost_response_window(LONG));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed, jobs.stats().lost_responses), ((1, 1), 0, 1));
    assert_eq!(rig.faults.seen().lost_answers, 1);
}

#[tokio::test]
async fn a_lost_answer_is_no_byte_on_a_connection_that_closes_and_a_job_that_is_there() {
    let faults = Faults::new();
    let daemon = Daemon::builder().faults(faults.clone()).start().await.unwrap();
    faults.submissions().lose_answers(Times::Next(1));
    // A refusal is not lost, and does not count.
    raw::post(&daemon, "/jobs", &[], "{}").await.refused(422);
    let body = r#"{"model":"m","messages":[]}"#;
    let post = raw::request("POST", "/jobs", &["Content-Type: application/json"], body);
    let mut answer = Vec::new();
    send(daemon.local_addr(), post).await.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    assert_eq!((daemon.stats().accepted, faults.seen().lost_answers), (1, 1));
    raw::submit(&daemon, "the next one").await;
    assert_eq!(daemon.stats().accepted, 2);
}

#[tokio::test]
async fn answers_to_polls_and_to_all_can_be_lost() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().lose_answers(Times::Next(3));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.faults.seen().lost_answers, jobs.stats().poll_failures), (3, 3));

    rig.faults.requests().lose_answers(Times::UntilCleared);
    for _ in 0..2 {
        let error = rig.api().oneshot(ListJobs::new()).await.unwrap_err();
        assert!(error.is_retryable() && error.status().is_none(), "{error}");
    }
    rig.faults.requests().clear();
    assert_eq!(rig.api().oneshot(ListJobs::new()).await.unwrap().jobs.len(), 1);
    assert_eq!(rig.faults.seen().lost_answers, 5);
}

#[tokio::test]
async fn a_submission_that_is_refused_for_now_is_sent_again_and_runs_once() -> Result<(), Error> {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.submissions().refuse(Refusal::new(503)?.retry_after(Duration::ZERO), Times::Next(3));
    rig.gate.open(1);
    let result = bounded(jobs.oneshot(request())).await?;
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((1, 1), 0));
    assert_eq!(rig.faults.seen().refused_submissions, 3);
    Ok(())
}

#[tokio::test]
async fn a_wait_outlives_an_outage_of_the_polls() -> Result<(), Error> {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().refuse(Refusal::new(500)?, Times::UntilCleared);
    rig.gate.open(1);
    let wait = tokio::spawn(jobs.clone().oneshot(request()));
    let seen = bounded(rig.faults.until(|seen| seen.refused_polls >= 5)).await;
    assert!(seen.refused_polls >= 5 && !wait.is_finished());
    rig.faults.clear();
    rig.ran_once(&bounded(wait).await.unwrap()?).await;
    assert!(jobs.stats().poll_failures >= 4);
    Ok(())
}

#[tokio::test]
async fn a_job_that_is_not_known_yet_right_after_its_202_is_waited_for() {
    let rig = Rig::start().await;
    let jobs = rig.polling();
    rig.faults.polls().not_found(Times::Next(4));
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.ran_once(&result).await;
    assert_eq!((rig.faults.seen().refused_polls, jobs.stats().poll_failures), (4, 4));
}

#[tokio::test]
async fn a_cancel_can_be_refused_and_the_job_goes_on() -> Result<(), Error> {
    let rig = Rig::start().await;
    let id = raw::id(&raw::submit(&rig.daemon, "hi").await);
    rig.gate.begun().await;
    rig.faults.cancels().refuse(Refusal::new(500)?, Times::Next(1));
    let error = rig.api().oneshot(CancelJob(id.clone())).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(500));
    assert_eq!((rig.faults.seen().refused_cancels, rig.daemon.stats().cancelled), (1, 0));
    assert_eq!(rig.api().oneshot(CancelJob(id)).await?.error.as_deref(), Some("cancelled"));
    Ok(())
}

#[tokio::test]
async fn a_refusal_comes_before_the_request_is_looked_at_and_its_own_kind_before_all()
-> Result<(), foreman_daemon::Error> {
    let faults = Faults::new();
    let daemon = Daemon::builder().token("hush").faults(faults.clone()).start().await?;
    faults.requests().refuse(Refusal::new(502)?, Times::UntilCleared);
    faults.polls().refuse(Refusal::new(429)?.retry_after(Duration::from_millis(1500)), Times::Next(1));
    // Neither shows a token, and the body is none.
    let answer = get(&daemon, "/jobs/7", &[]).await;
    assert_eq!((answer.refused(429).as_str(), answer.header("retry-after")), ("a fault that was asked for", Some("2")));
    for answer in [get(&daemon, "/jobs/7", &[]).await, raw::post(&daemon, "/jobs", &[], "").await] {
        answer.refused(502);
        assert_eq!(answer.header("retry-after"), None);
    }
    get(&daemon, "/api/tags", &[]).await.refused(502);
    // Whoever watches over the daemon is told the truth.
    assert_eq!(get(&daemon, "/healthz", &[]).await.status, 200);
    let seen = faults.seen();
    assert_eq!((seen.refused_polls, seen.refused_submissions, seen.refused_others), (2, 1, 1));
    faults.clear();
    get(&daemon, "/jobs/7", &[]).await.refused(401);
    assert_eq!(faults.seen(), seen);
    Ok(())
}
