//! The two policies in `tower::retry`, over mock services and over layers that box errors.

use std::time::Duration;

use foreman_client::api::Accepted;
use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::{Error, IdempotencyKey, JobResult, JobState, JobStatus, SubmitRequest};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::retry::Retry;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_test::assert_request_eq;
use tower_test::mock::{self, Handle, Mock};

use crate::support::{bounded_paused, job_id, millis, request, seconds};

const PAUSE: Duration = millis(10);

fn inside() -> RetrySubmission {
    RetrySubmission::builder().backoff(PAUSE, PAUSE).jitter(0.0).build().unwrap()
}

fn outside() -> Reattach {
    Reattach::builder().backoff(PAUSE, PAUSE).jitter(0.0).retries(2).build().unwrap()
}

fn refused() -> std::io::Error {
    std::io::ErrorKind::ConnectionRefused.into()
}

/// Identifies a request, since a clone is the same submission.
type Key = IdempotencyKey;

fn submissions<T>() -> (Mock<Key, T>, Handle<Key, T>) {
    mock::pair()
}

#[expect(clippy::needless_pass_by_value, reason = "`map_request` passes it by value")]
fn key(request: SubmitRequest) -> Key {
    request.submission().idempotency_key()
}

#[tokio::test(start_paused = true)]
async fn retry_keeps_key_over_plain_and_boxed_errors() {
    for boxed in [true, false] {
        let (mock, mut handle) = submissions();
        let mock = mock.map_request(key);
        let request = request();
        let same = key(request.clone());
        let mut call = if boxed {
            let retry = Retry::new(inside(), mock);
            task::spawn(Box::pin(async move { retry.oneshot(request).await.map_err(Error::from_boxed) })
                as std::pin::Pin<Box<dyn Future<Output = Result<Accepted, Error>>>>)
        } else {
            let retry = Retry::new(inside(), mock.map_err(Error::from_boxed));
            task::spawn(Box::pin(retry.oneshot(request)) as _)
        };
        for _ in 0..2 {
            assert_pending!(call.poll());
            assert_request_eq!(handle, same).send_error(refused());
            assert_pending!(call.poll());
            tokio::time::advance(PAUSE).await;
        }
        assert_pending!(call.poll());
        assert_request_eq!(handle, same).send_response(Accepted::new(job_id("7")));
        assert_eq!(assert_ready_ok!(call.poll()).job_id, job_id("7"));
    }
}

#[tokio::test(start_paused = true)]
async fn last_error_is_returned() {
    let (mock, mut handle) = submissions::<JobResult>();
    let retry = Retry::new(outside(), mock.map_request(key));
    let mut call = task::spawn(retry.oneshot(request()));
    for text in ["first", "second", "last"] {
        assert_pending!(call.poll());
        let (_, respond) = bounded_paused(handle.next_request()).await.unwrap();
        respond.send_error(std::io::Error::new(std::io::ErrorKind::ConnectionReset, text));
        let last = call.poll();
        if text == "last" {
            assert_eq!(assert_ready!(last).unwrap_err().to_string(), "last");
        } else {
            tokio::time::advance(PAUSE).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reattach_above_timeout_and_load_shed() {
    let (mock, mut handle) = submissions::<JobResult>();
    handle.allow(1);
    let stack = ServiceBuilder::new()
        .map_err(Error::from_boxed)
        .retry(outside())
        .load_shed()
        .timeout(seconds(1))
        .service(mock.map_request(key));
    let request = request();
    let same = key(request.clone());
    let mut call = task::spawn(stack.oneshot(request));
    assert_pending!(call.poll());
    let (first, _unanswered) = bounded_paused(handle.next_request()).await.unwrap();
    assert_eq!(first, same);
    // The timeout expires. The first retry is shed, and the second is sent.
    tokio::time::advance(seconds(1)).await;
    assert_pending!(call.poll());
    tokio::time::advance(PAUSE).await;
    assert_pending!(call.poll());
    handle.allow(1);
    tokio::time::advance(PAUSE).await;
    assert_pending!(call.poll());
    let (second, respond) = bounded_paused(handle.next_request()).await.unwrap();
    assert_eq!(second, same);
    respond.send_response(JobResult::new(JobStatus::new(job_id("7"), JobState::Done)).unwrap());
    assert_eq!(assert_ready_ok!(call.poll()).job_id(), &job_id("7"));
}
