//! What becomes of a job that nobody waits for any longer.

use std::time::Duration;

use foreman_client::api::Accepted;
use foreman_client::client::Jobs;
use foreman_client::{DropPolicy, Error, JobId, JobState, SubmitRequest};
use foreman_daemon::Daemon;
use http::Method;
use tower::{Service as _, ServiceExt as _};

use super::fault::Fault;
use super::rig::{Http, Rig, request, until};
use crate::eventually::bounded;

/// Waits that leave jobs to that policy.
fn jobs(rig: &Rig, policy: DropPolicy) -> Jobs<Http> {
    rig.jobs(rig.waits().on_drop(policy, rig.api()))
}

fn with(policy: DropPolicy) -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").on_drop(policy).build().unwrap()
}

/// Submits, lets a wait begin, and drops it; the job is known by then.
async fn wait_and_drop(jobs: &Jobs<Http>, request: SubmitRequest) -> JobId {
    let submission = request.submission();
    let waiting = tokio::spawn(jobs.clone().oneshot(request));
    let job_id = bounded(submission.accepted()).await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    job_id
}

/// Lets the job run to its end, which shows that nobody has cancelled it, and that nobody has tried.
async fn assert_left_alone(rig: &Rig, jobs: &Jobs<Http>, job_id: JobId) {
    rig.gate.open(1);
    let result = bounded(jobs.clone().oneshot(job_id)).await.unwrap();
    assert_eq!((result.state.clone(), result.attempt), (JobState::Done, 1));
    assert_eq!(rig.faults.sent(&Method::DELETE), []);
    assert_counts(jobs, 0, 0);
}

fn assert_counts(jobs: &Jobs<Http>, cancelled: u64, failed: u64) {
    let stats = jobs.stats();
    assert_eq!((stats.cancelled, stats.cancels_failed), (cancelled, failed), "{stats:?}");
}

#[tokio::test]
async fn by_default_a_job_is_left_alone() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    let job_id = wait_and_drop(&jobs, request()).await;
    assert_left_alone(&rig, &jobs, job_id).await;
}

#[tokio::test]
async fn by_policy_a_job_is_cancelled_whether_it_runs_or_not() {
    let rig = Rig::with(Daemon::builder().workers(1)).await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    wait_and_drop(&jobs, request()).await;
    bounded(until(|| jobs.stats().cancelled == 1)).await;
    // Two at once, of which one is queued.
    let first = tokio::spawn(jobs.clone().oneshot(request()));
    let queued = wait_and_drop(&jobs, request()).await;
    bounded(until(|| jobs.stats().cancelled == 2)).await;
    assert_eq!(rig.daemon.executions(&queued).await, 0);
    rig.gate.open(1);
    assert_eq!(bounded(first).await.unwrap().unwrap().state, JobState::Done);
    assert_counts(&jobs, 2, 0);
    assert_eq!(rig.daemon.stats().cancelled, 2);
}

#[tokio::test]
async fn by_policy_a_job_is_cancelled_only_while_it_is_queued() {
    let rig = Rig::with(Daemon::builder().workers(1)).await;
    let jobs = jobs(&rig, DropPolicy::CancelIfQueued);
    let running = request();
    let alive = running.clone();
    let running = wait_and_drop(&jobs, running).await;
    bounded(rig.gate.begun()).await;
    let queued = wait_and_drop(&jobs, request()).await;
    bounded(until(|| jobs.stats().cancelled == 1)).await;
    assert_eq!((rig.daemon.executions(&queued).await, rig.daemon.stats().cancelled), (0, 1));

    let asked = rig.faults.sent(&Method::GET).len();
    drop(alive);
    bounded(until(|| rig.faults.sent(&Method::GET).len() > asked)).await;
    rig.gate.open(1);
    assert_eq!(bounded(jobs.clone().oneshot(running)).await.unwrap().state, JobState::Done);
    assert_eq!(rig.faults.sent(&Method::DELETE).len(), 1);
    // What was left alone was not cancelled.
    assert_counts(&jobs, 1, 0);
}

#[tokio::test]
async fn what_the_request_says_goes_over_what_the_client_says() {
    let rig = Rig::start().await;
    let cancelling = jobs(&rig, DropPolicy::Cancel);
    let job_id = wait_and_drop(&cancelling, with(DropPolicy::Detach)).await;
    assert_left_alone(&rig, &cancelling, job_id).await;

    let detaching = jobs(&rig, DropPolicy::Detach);
    wait_and_drop(&detaching, with(DropPolicy::Cancel)).await;
    bounded(until(|| detaching.stats().cancelled == 1)).await;
    // A renewed request says the same.
    wait_and_drop(&detaching, with(DropPolicy::Cancel).renew()).await;
    bounded(until(|| detaching.stats().cancelled == 2)).await;
}

#[tokio::test]
async fn a_request_that_says_cancel_needs_a_service_for_it() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    wait_and_drop(&jobs, with(DropPolicy::Cancel)).await;
    assert_counts(&jobs, 0, 1);
}

#[tokio::test]
async fn a_job_is_held_by_each_clone_of_the_request_and_each_wait() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let request = request();
    let handle = request.submission();
    let other = tokio::spawn(jobs.clone().oneshot(request.clone()));
    wait_and_drop(&jobs, request.clone()).await;
    drop(request);
    assert_counts(&jobs, 0, 0);
    rig.gate.open(1);
    assert_eq!(bounded(other).await.unwrap().unwrap().state, JobState::Done);

    let request = super::rig::request();
    wait_and_drop(&jobs, request.clone()).await;
    assert_eq!(rig.faults.sent(&Method::DELETE), []);
    drop(request);
    bounded(until(|| jobs.stats().cancelled == 1)).await;
    assert_eq!(rig.faults.sent(&Method::DELETE).len(), 1);
    drop(handle);
}

#[tokio::test]
async fn a_job_attached_to_by_its_id_is_left_alone() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let Accepted { job_id, .. } = rig.api().oneshot(request()).await.unwrap();
    bounded(rig.gate.begun()).await;
    let mut waiting = tokio_test::task::spawn(jobs.clone().call(job_id.clone()));
    assert!(waiting.poll().is_pending());
    drop(waiting);
    assert_left_alone(&rig, &jobs, job_id).await;
}

#[tokio::test]
async fn a_job_that_has_ended_is_not_cancelled() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let request = request();
    rig.gate.open(1);
    bounded(jobs.clone().oneshot(request.clone())).await.unwrap();
    drop(request);
    let job_id = wait_and_drop(&jobs, with(DropPolicy::Detach)).await;
    assert_left_alone(&rig, &jobs, job_id).await;
}

#[tokio::test]
async fn a_job_past_its_deadline_is_left_to_the_policy() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let request = request();
    wait_and_drop(&jobs, request.clone()).await;
    let error: Error = bounded(jobs.clone().with_deadline(Some(Duration::ZERO)).oneshot(request)).await.unwrap_err();
    assert!(error.is_deadline() && error.job_id().is_some(), "{error}");
    bounded(until(|| jobs.stats().cancelled == 1)).await;
    assert_eq!(rig.daemon.stats().cancelled, 1);
}

#[tokio::test]
async fn let_go_outside_a_runtime_it_is_counted_and_does_not_panic() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let request = request();
    wait_and_drop(&jobs, request.clone()).await;
    std::thread::spawn(move || drop(request)).join().unwrap();
    assert_counts(&jobs, 0, 1);
    assert_eq!(rig.faults.sent(&Method::DELETE), []);
}

#[tokio::test]
async fn let_go_while_the_runtime_shuts_down_it_is_counted_and_does_not_panic() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    let gateway = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let request = request();
    let submission = request.submission();
    let waiting = gateway.spawn(jobs.clone().oneshot(request));
    bounded(submission.accepted()).await.unwrap();
    gateway.shutdown_background();
    assert!(bounded(waiting).await.unwrap_err().is_cancelled());
    bounded(until(|| jobs.stats().cancelled + jobs.stats().cancels_failed == 1)).await;
}

#[tokio::test]
async fn a_cancel_that_the_daemon_refuses_is_counted() {
    for (status, cancelled, failed) in [(405, 0, 1), (501, 0, 1), (500, 0, 1), (401, 0, 1), (404, 0, 1), (409, 1, 0)] {
        let rig = Rig::start().await;
        let jobs = jobs(&rig, DropPolicy::Cancel);
        rig.faults.deletes([Fault::Answer(status, None)]);
        wait_and_drop(&jobs, request()).await;
        bounded(until(|| jobs.stats().cancelled + jobs.stats().cancels_failed == 1)).await;
        assert_counts(&jobs, cancelled, failed);
    }
}

#[tokio::test]
async fn a_job_that_may_be_there_but_is_not_known_is_counted() {
    // Let go while the submission is under way.
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    rig.faults.posts([Fault::Hang]);
    let waiting = tokio::spawn(jobs.clone().oneshot(request()));
    bounded(until(|| rig.posts() == 1)).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_counts(&jobs, 0, 1);
    // Or after its answer was lost.
    rig.faults.posts([Fault::LoseAnswer]);
    assert!(bounded(jobs.clone().oneshot(request())).await.unwrap_err().is_maybe_submitted());
    assert_counts(&jobs, 0, 2);
}

#[tokio::test]
async fn where_there_is_surely_no_job_there_is_nothing_to_count() {
    let rig = Rig::start().await;
    let jobs = jobs(&rig, DropPolicy::Cancel);
    drop(request());
    drop(jobs.clone().oneshot(request()));
    rig.faults.posts([Fault::Answer(422, None)]);
    assert!(bounded(jobs.clone().oneshot(request())).await.unwrap_err().is_rejected());
    assert_counts(&jobs, 0, 0);
}
