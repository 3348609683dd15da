//! The predicates of each error of a submission, where it matters whether the request arrived.

use std::io;

use foreman_client::Error;

use crate::support::{ReceivedRequest, polling_wait, request, seconds, spawn_wait};

const UNSENT: &str = "unsent";
const MAYBE: &str = "maybe_submitted";
const RETRY: &str = "retryable";
const AUTH: &str = "auth";
const NOT_FOUND: &str = "not_found";
const REJECTED: &str = "rejected";
const OVERLOADED: &str = "overloaded";
const CONNECT: &str = "connect";
const TIMEOUT: &str = "timeout";

fn predicates(error: &Error) -> Vec<&'static str> {
    let all = [
        (UNSENT, error.is_safe_to_resubmit()),
        (MAYBE, error.is_maybe_submitted()),
        (RETRY, error.is_retryable()),
        (AUTH, error.is_auth()),
        (NOT_FOUND, error.is_not_found()),
        (REJECTED, error.is_rejected()),
        (OVERLOADED, error.is_overloaded()),
        (CONNECT, error.is_connect()),
        (TIMEOUT, error.is_timeout()),
    ];
    all.into_iter().filter_map(|(name, is_true)| is_true.then_some(name)).collect()
}

async fn submission_error(respond: impl FnOnce(ReceivedRequest)) -> Error {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    respond(daemon.next_post().await);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.idempotency_key().is_some() && error.job_id().is_none(), "{error}");
    assert_eq!(error.may_be_running(), error.is_maybe_submitted(), "{error}");
    error
}

#[tokio::test(start_paused = true)]
async fn statuses_are_classified() {
    let table: [(u16, Option<&str>, &[&str]); 19] = [
        (200, None, &[MAYBE]),
        (302, None, &[UNSENT]),
        (400, None, &[UNSENT, REJECTED]),
        (401, None, &[UNSENT, AUTH]),
        (403, None, &[UNSENT, AUTH]),
        (404, None, &[UNSENT, NOT_FOUND]),
        (408, None, &[MAYBE, RETRY]),
        (409, None, &[MAYBE, RETRY]),
        (410, None, &[UNSENT, NOT_FOUND]),
        (413, None, &[UNSENT, REJECTED]),
        (422, None, &[UNSENT, REJECTED]),
        (425, None, &[UNSENT, RETRY]),
        (429, None, &[UNSENT, RETRY, OVERLOADED]),
        (429, Some("7"), &[UNSENT, RETRY, OVERLOADED]),
        (500, None, &[MAYBE, RETRY]),
        (502, None, &[MAYBE, RETRY]),
        (503, None, &[MAYBE, RETRY]),
        (503, Some("7"), &[UNSENT, RETRY, OVERLOADED]),
        (504, Some("7"), &[MAYBE, RETRY]),
    ];
    for (status, retry_after, expected) in table {
        let error = submission_error(|request| {
            let mut response = http::Response::builder().status(status);
            if let Some(value) = retry_after {
                response = response.header("retry-after", value);
            }
            request.respond_with(response.body("{}".into()).unwrap());
        });
        let error = error.await;
        assert_eq!(predicates(&error), expected, "{status} {retry_after:?}");
        assert_eq!(error.status().unwrap().as_u16(), status);
        assert_eq!(error.retry_after(), retry_after.map(|_| seconds(7)), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn io_errors_are_classified() {
    use io::ErrorKind;
    for (kind, expected) in [
        (ErrorKind::ConnectionRefused, &[UNSENT, RETRY, CONNECT][..]),
        (ErrorKind::HostUnreachable, &[UNSENT, RETRY, CONNECT]),
        (ErrorKind::NetworkUnreachable, &[UNSENT, RETRY, CONNECT]),
        (ErrorKind::AddrNotAvailable, &[UNSENT, RETRY, CONNECT]),
        (ErrorKind::ConnectionReset, &[MAYBE, RETRY]),
        (ErrorKind::ConnectionAborted, &[MAYBE, RETRY]),
        (ErrorKind::BrokenPipe, &[MAYBE, RETRY]),
        (ErrorKind::UnexpectedEof, &[MAYBE, RETRY]),
        (ErrorKind::TimedOut, &[MAYBE, RETRY, TIMEOUT]),
    ] {
        assert_eq!(predicates(&submission_error(|request| request.fail(kind)).await), expected, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unusable_202_is_maybe_submitted() {
    for body in ["", "{}", "<html>", r#"{"job_id":"a/b"}"#] {
        assert_eq!(predicates(&submission_error(|request| request.respond(202, body)).await), [MAYBE, RETRY], "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_timeout_is_maybe_submitted() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    let _post = daemon.next_post().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(predicates(&error), [MAYBE, RETRY, TIMEOUT]);
    assert_eq!(daemon.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn failed_readiness_is_unsent() {
    let (wait, mut daemon) = polling_wait();
    daemon.fail_ready(io::Error::from(io::ErrorKind::ConnectionRefused));
    let error = spawn_wait(&wait, &request()).await.unwrap().unwrap_err();
    assert!(error.is_safe_to_resubmit() && error.is_connect());
}

#[test]
fn wire_type_errors_are_classified() {
    let invalid = || foreman_client::JobId::new("").unwrap_err();
    for error in [Error::from(invalid()), Error::from_boxed(invalid().into())] {
        assert!(error.is_invalid(), "{error}");
        assert_eq!(error.to_string(), "invalid job_id: must not be empty");
        assert!(std::error::Error::source(&error).is_none());
    }
    let artifact: foreman_client::Artifact = serde_json::from_str(r#"{"name":"a","size":3,"data":"*"}"#).unwrap();
    let damaged = || artifact.data().unwrap_err();
    for error in [Error::from(damaged()), Error::from_boxed(damaged().into())] {
        assert!(error.is_bad_response(), "{error}");
        assert!(error.to_string().ends_with("artifact \"a\" is not base64"), "{error}");
    }
}
