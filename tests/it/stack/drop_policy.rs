//! The drop policy: what happens to a job after its last wait.

use foreman_client::api::{Accepted, Transport};
use foreman_client::client::Jobs;
use foreman_client::{DropPolicy, Error, JobId, JobState, SubmitRequest};
use foreman_daemon::Daemon;
use http::Method;
use tower::{Service as _, ServiceExt as _};

use crate::support::{EmbeddedHarness, FaultyHttp, HttpFault, bounded, eventually, request};

type Http = FaultyHttp<Transport>;

/// A stack whose client has that policy.
fn jobs_with(harness: &EmbeddedHarness, policy: DropPolicy) -> Jobs<Http> {
    harness.jobs(harness.waits().on_drop(policy, harness.api()))
}

/// A request that has that policy itself.
fn request_with(policy: DropPolicy) -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").on_drop(policy).build().unwrap()
}

/// Submits, waits until the job id is known, and drops the wait.
async fn wait_and_drop(jobs: &Jobs<Http>, request: SubmitRequest) -> JobId {
    let submission = request.submission();
    let waiting = tokio::spawn(jobs.clone().oneshot(request));
    let job_id = bounded(submission.accepted()).await.unwrap();
    waiting.abort();
    assert!(bounded(waiting).await.unwrap_err().is_cancelled());
    job_id
}

/// Lets the job run to its end, and asserts that the client has sent no cancel request.
async fn assert_detached(harness: &EmbeddedHarness, jobs: &Jobs<Http>, job_id: JobId) {
    harness.gate.open(1);
    let result = bounded(jobs.attach().oneshot(job_id)).await.unwrap();
    assert_eq!((result.state().clone(), result.attempt()), (JobState::Done, 1));
    assert_eq!(harness.faults.sent(&Method::DELETE), []);
    assert_counts(jobs, 0, 0);
}

fn assert_counts(jobs: &Jobs<Http>, cancelled: u64, failed: u64) {
    let stats = jobs.stats();
    assert_eq!((stats.cancelled, stats.cancels_failed), (cancelled, failed), "{stats:?}");
}

#[tokio::test]
async fn default_policy_detaches() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    let job_id = wait_and_drop(&jobs, request()).await;
    assert_detached(&harness, &jobs, job_id).await;
}

#[tokio::test]
async fn cancel_policy_cancels_queued_and_running() {
    let harness = EmbeddedHarness::with(Daemon::builder().workers(1)).await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    wait_and_drop(&jobs, request()).await;
    eventually("the job is cancelled", || jobs.stats().cancelled == 1).await;
    // The only worker runs the first job, so that the second is queued.
    let first = tokio::spawn(jobs.clone().oneshot(request()));
    let queued = wait_and_drop(&jobs, request()).await;
    eventually("both jobs are cancelled", || jobs.stats().cancelled == 2).await;
    assert_eq!(harness.daemon.executions(&queued).await, 0);
    harness.gate.open(1);
    assert_eq!(bounded(first).await.unwrap().unwrap().state(), &JobState::Done);
    assert_counts(&jobs, 2, 0);
    assert_eq!(harness.daemon.stats().cancelled, 2);
}

#[tokio::test]
async fn cancel_if_queued_detaches_running() {
    let harness = EmbeddedHarness::with(Daemon::builder().workers(1)).await;
    let jobs = jobs_with(&harness, DropPolicy::CancelIfQueued);
    let running = request();
    let clone = running.clone();
    let running = wait_and_drop(&jobs, running).await;
    harness.gate.run_started().await;
    let queued = wait_and_drop(&jobs, request()).await;
    eventually("the job is cancelled", || jobs.stats().cancelled == 1).await;
    assert_eq!((harness.daemon.executions(&queued).await, harness.daemon.stats().cancelled), (0, 1));

    let polls = harness.faults.sent(&Method::GET).len();
    drop(clone);
    eventually("the policy polls the job", || harness.faults.sent(&Method::GET).len() > polls).await;
    harness.gate.open(1);
    assert_eq!(bounded(jobs.attach().oneshot(running)).await.unwrap().state(), &JobState::Done);
    assert_eq!(harness.faults.sent(&Method::DELETE).len(), 1);
    // The running job was not cancelled.
    assert_counts(&jobs, 1, 0);
}

#[tokio::test]
async fn request_policy_overrides_client() {
    let harness = EmbeddedHarness::start().await;
    let cancelling = jobs_with(&harness, DropPolicy::Cancel);
    let job_id = wait_and_drop(&cancelling, request_with(DropPolicy::Detach)).await;
    assert_detached(&harness, &cancelling, job_id).await;

    let detaching = jobs_with(&harness, DropPolicy::Detach);
    wait_and_drop(&detaching, request_with(DropPolicy::Cancel)).await;
    eventually("the job is cancelled", || detaching.stats().cancelled == 1).await;
    // A renewed request has the same policy.
    wait_and_drop(&detaching, request_with(DropPolicy::Cancel).renew()).await;
    eventually("both jobs are cancelled", || detaching.stats().cancelled == 2).await;
}

#[tokio::test]
async fn cancel_without_service_counts_as_failed() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    wait_and_drop(&jobs, request_with(DropPolicy::Cancel)).await;
    assert_counts(&jobs, 0, 1);
}

#[tokio::test]
async fn policy_applies_after_last_clone_and_wait() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let request = request();
    let handle = request.submission();
    let other = tokio::spawn(jobs.clone().oneshot(request.clone()));
    wait_and_drop(&jobs, request.clone()).await;
    drop(request);
    assert_counts(&jobs, 0, 0);
    harness.gate.open(1);
    assert_eq!(bounded(other).await.unwrap().unwrap().state(), &JobState::Done);

    let request = crate::support::request();
    wait_and_drop(&jobs, request.clone()).await;
    assert_eq!(harness.faults.sent(&Method::DELETE), []);
    drop(request);
    eventually("the job is cancelled", || jobs.stats().cancelled == 1).await;
    assert_eq!(harness.faults.sent(&Method::DELETE).len(), 1);
    drop(handle);
}

#[tokio::test]
async fn attached_job_is_detached() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let Accepted { job_id, .. } = bounded(harness.api().oneshot(request())).await.unwrap();
    harness.gate.run_started().await;
    let mut waiting = tokio_test::task::spawn(jobs.attach().call(job_id.clone()));
    assert!(waiting.poll().is_pending());
    drop(waiting);
    assert_detached(&harness, &jobs, job_id).await;
}

#[tokio::test]
async fn finished_job_is_not_cancelled() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let request = request();
    harness.gate.open(1);
    bounded(jobs.clone().oneshot(request.clone())).await.unwrap();
    drop(request);
    let job_id = wait_and_drop(&jobs, request_with(DropPolicy::Detach)).await;
    assert_detached(&harness, &jobs, job_id).await;
}

#[tokio::test]
async fn deadline_applies_policy() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let request = request();
    wait_and_drop(&jobs, request.clone()).await;
    let error: Error =
        bounded(jobs.clone().with_deadline(Some(std::time::Duration::ZERO)).oneshot(request)).await.unwrap_err();
    assert!(error.is_deadline() && error.job_id().is_some(), "{error}");
    eventually("the job is cancelled", || jobs.stats().cancelled == 1).await;
    assert_eq!(harness.daemon.stats().cancelled, 1);
}

#[tokio::test]
async fn drop_outside_runtime_counts_as_failed() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let request = request();
    wait_and_drop(&jobs, request.clone()).await;
    std::thread::spawn(move || drop(request)).join().unwrap();
    assert_counts(&jobs, 0, 1);
    assert_eq!(harness.faults.sent(&Method::DELETE), []);
}

#[tokio::test]
async fn drop_during_shutdown_is_counted() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    let gateway = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let request = request();
    let submission = request.submission();
    let waiting = gateway.spawn(jobs.clone().oneshot(request));
    bounded(submission.accepted()).await.unwrap();
    gateway.shutdown_background();
    assert!(bounded(waiting).await.unwrap_err().is_cancelled());
    eventually("the cancel is counted", || jobs.stats().cancelled + jobs.stats().cancels_failed == 1).await;
}

#[tokio::test]
async fn rejected_cancels_are_counted() {
    for (status, cancelled, failed) in [(405, 0, 1), (501, 0, 1), (401, 0, 1), (404, 0, 1), (409, 1, 0)] {
        let harness = EmbeddedHarness::start().await;
        let jobs = jobs_with(&harness, DropPolicy::Cancel);
        harness.faults.fail_deletes([HttpFault::Respond(status, None)]);
        wait_and_drop(&jobs, request()).await;
        eventually("the cancel is counted", || jobs.stats().cancelled + jobs.stats().cancels_failed == 1).await;
        assert_counts(&jobs, cancelled, failed);
    }
}

#[tokio::test]
async fn unknown_job_counts_as_failed() {
    // The wait is dropped while the submission is in flight.
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    harness.faults.fail_posts([HttpFault::NeverDeliver]);
    let waiting = tokio::spawn(jobs.clone().oneshot(request()));
    eventually("the request is sent", || harness.posts() == 1).await;
    waiting.abort();
    assert!(bounded(waiting).await.unwrap_err().is_cancelled());
    assert_counts(&jobs, 0, 1);
    // The request is dropped after the response was lost.
    harness.faults.fail_posts([HttpFault::LoseResponse]);
    assert!(bounded(jobs.clone().oneshot(request())).await.unwrap_err().is_maybe_submitted());
    assert_counts(&jobs, 0, 2);
}

#[tokio::test]
async fn unsent_request_counts_nothing() {
    let harness = EmbeddedHarness::start().await;
    let jobs = jobs_with(&harness, DropPolicy::Cancel);
    drop(request());
    drop(jobs.clone().oneshot(request()));
    harness.faults.fail_posts([HttpFault::Respond(422, None)]);
    assert!(bounded(jobs.clone().oneshot(request())).await.unwrap_err().is_rejected());
    assert_counts(&jobs, 0, 0);
}
