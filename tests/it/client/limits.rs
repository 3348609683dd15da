//! The limits of the default stack.

use std::time::Duration;

use foreman_client::Client;
use foreman_client::retry::RetrySubmission;
use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, InjectedResponse, Times};
use tower::ServiceExt as _;

use crate::support::{bounded, millis, request};

async fn daemon_with_faults() -> (Daemon, Faults) {
    let faults = Faults::new();
    (Daemon::builder().faults(faults.clone()).start().await.unwrap(), faults)
}

#[tokio::test]
async fn submission_retries_are_limited() {
    let (daemon, faults) = daemon_with_faults().await;
    let busy = InjectedResponse::new(503).unwrap().retry_after(Duration::ZERO);
    faults.submissions().reject(busy, Times::UntilCleared);
    let twice = RetrySubmission::builder().retries(2).backoff(millis(1), millis(1)).build().unwrap();
    let client = Client::builder(daemon.url()).polling().retry(twice).build().await.unwrap();
    let error = bounded(client.submit(request())).await.unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_overloaded(), "{error}");
    assert_eq!((faults.seen().rejected_submissions, daemon.stats().accepted), (3, 0));
}

#[tokio::test]
async fn failure_budget_ends_wait() {
    let (daemon, faults) = daemon_with_faults().await;
    faults.polls().reject(InjectedResponse::new(500).unwrap(), Times::UntilCleared);
    let client = Client::builder(daemon.url()).polling().failure_budget(Duration::ZERO).build().await.unwrap();
    // By its id, so that no event ends the wait.
    let job_id = bounded(client.api().oneshot(request())).await.unwrap().job_id;
    let error = bounded(client.wait(&job_id)).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 500);
    faults.clear();
    bounded(client.wait(error.job_id().unwrap())).await.unwrap().into_success().unwrap();
    assert_eq!(daemon.stats().executions, 1);
}

#[tokio::test]
async fn lost_response_window_triggers_resend() {
    let (daemon, faults) = daemon_with_faults().await;
    let client = Client::builder(daemon.url()).lost_response_window(Duration::ZERO).build().await.unwrap();
    // The client learns that the daemon supports idempotency keys.
    bounded(client.submit(request())).await.unwrap();
    faults.events().silence(Times::UntilCleared);
    faults.submissions().lose_responses(Times::Next(1));
    bounded(client.submit(request())).await.unwrap().into_success().unwrap();
    assert_eq!(faults.seen().lost_responses, 1);
    assert_eq!((daemon.stats().accepted, daemon.stats().replayed, daemon.stats().executions), (2, 1, 2));
}
