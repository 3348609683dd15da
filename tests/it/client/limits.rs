//! The limits of the default stack.

use std::time::Duration;

use foreman_client::retry::RetrySubmission;
use foreman_client::{Client, SubmitRequest};
use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, InjectedResponse, Times};

async fn faulty() -> (Daemon, Faults) {
    let faults = Faults::new();
    (Daemon::builder().faults(faults.clone()).start().await.unwrap(), faults)
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("echo").user("hi").build().unwrap()
}

#[tokio::test]
async fn a_submission_is_sent_again_as_often_as_the_policy_says() {
    let (daemon, faults) = faulty().await;
    let busy = InjectedResponse::new(503).unwrap().retry_after(Duration::ZERO);
    faults.submissions().reject(busy, Times::UntilCleared);
    let instant = (Duration::from_millis(1), Duration::from_millis(1));
    let twice = RetrySubmission::builder().retries(2).backoff(instant.0, instant.1).build().unwrap();
    let client = Client::builder(daemon.url()).polling().retry(twice).build().await.unwrap();
    let error = client.submit(request()).await.unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_overloaded(), "{error}");
    assert_eq!((faults.seen().rejected_submissions, daemon.stats().accepted), (3, 0));
}

#[tokio::test]
async fn polls_that_fail_for_longer_than_the_budget_end_the_wait() {
    let (daemon, faults) = faulty().await;
    faults.polls().reject(InjectedResponse::new(500).unwrap(), Times::UntilCleared);
    let client = Client::builder(daemon.url()).polling().failure_budget(Duration::ZERO).build().await.unwrap();
    let error = client.submit(request()).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 500);
    faults.clear();
    client.wait(error.job_id().unwrap().clone()).await.unwrap().into_success().unwrap();
    assert_eq!(daemon.stats().executions, 1);
}

#[tokio::test]
async fn a_lost_answer_is_not_waited_for_beyond_the_window() {
    let (daemon, faults) = faulty().await;
    let client = Client::builder(daemon.url()).lost_response_window(Duration::ZERO).build().await.unwrap();
    // From its answer the client knows that the daemon keeps keys.
    client.submit(request()).await.unwrap();
    faults.events().silence(Times::UntilCleared);
    faults.submissions().lose_responses(Times::Next(1));
    client.submit(request()).await.unwrap().into_success().unwrap();
    assert_eq!(faults.seen().lost_responses, 1);
    assert_eq!((daemon.stats().accepted, daemon.stats().replayed, daemon.stats().executions), (2, 1, 2));
}
