//! Answers that cannot be used, and what the error says of them.

use foreman_client::api::{GetJob, ListModels};
use foreman_client::{Error, JobId};
use http::Response;

use crate::support::{AnswerBody, Daemon, exchange, request};
use tower::ServiceExt;

fn poll() -> GetJob {
    GetJob::new(JobId::new("7").unwrap())
}

/// The text of the error, and those of its causes.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_to_a_poll_says_what_was_asked_and_what_came() {
    for (body, why) in [
        ("<html>Bad Gateway</html>", "not JSON, starting with \"<html>Bad Gateway</html>\""),
        (r#"{"job_id":"7","sta"#, "truncated JSON"),
        ("", "truncated JSON"),
        ("[]", "JSON of another shape"),
        (r#"{"job_id":7,"state":"done"}"#, "JSON of another shape"),
        (r#"{"job_id":"7","state":1}"#, "JSON of another shape"),
        (r#"{"job_id":"7"}"#, "JSON of another shape"),
        (r#"{"job_id":"../7","state":"done"}"#, "JSON of another shape"),
        (r#"{"job_id":"8","state":"done"}"#, "it is of job 8"),
        (r#"{"job_id":"7","state":"done"} x"#, "not JSON"),
    ] {
        let error = exchange(poll(), |asked| asked.answer(200, body)).await.unwrap_err();
        let text = told(&error);
        assert!(text.starts_with("GET http://daemon.test/jobs/7: unusable response from the daemon: "), "{text}");
        assert!(text.contains(why), "{body}: {text}");
        assert!(error.is_bad_response() && error.is_retryable() && !error.is_safe_to_resubmit(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_202_without_a_usable_job_id_says_so() {
    for body in [
        "{}",
        r#"{"job_id":null}"#,
        r#"{"job_id":7}"#,
        r#"{"job_id":""}"#,
        r#"{"job_id":"a/b"}"#,
        r#"{"job_id":".."}"#,
        r#"{"job_id":"a\nb"}"#,
        "accepted",
    ] {
        let error = exchange(request(), |asked| asked.answer(202, body)).await.unwrap_err();
        let text = told(&error);
        assert!(text.starts_with("POST http://daemon.test/jobs: unusable response from the daemon"), "{text}");
        assert!(error.is_bad_response() && !error.is_safe_to_resubmit(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_broken_exchange() {
    let cut = AnswerBody::from(r#"{"job_id":"7","#).then_broken();
    let error = exchange(poll(), |asked| asked.answer(200, cut)).await.unwrap_err();
    assert_eq!(told(&error), "GET http://daemon.test/jobs/7: connection to the daemon lost: connection reset");
    assert!(error.is_retryable() && !error.is_safe_to_resubmit() && !error.is_bad_response());
}

#[tokio::test(start_paused = true)]
async fn the_body_may_come_in_pieces() {
    let pieces = AnswerBody::from(r#"{"job_id""#).then("").then(r#":"7","state":"#).then(r#""running"}"#);
    let polled = exchange(poll(), |asked| asked.answer(200, pieces)).await.unwrap();
    assert_eq!(polled.status.state.as_str(), "running");
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let whole = r#"{"job_id":"7","state":"done"}"#;
    for (limit, body, fits) in [
        (whole.len(), AnswerBody::from(whole), true),
        (whole.len() - 1, AnswerBody::from(whole), false),
        // By its declaration: nothing of it is read.
        (whole.len(), AnswerBody::default().then_silence().declared(whole.len() as u64 + 1), false),
        // By its bytes, whatever it declares.
        (whole.len() - 1, AnswerBody::from(&whole[..9]).then(&whole[9..]).then_silence(), false),
        (1, AnswerBody::from("x").then("y").declared(1), false),
    ] {
        let (api, mut daemon) = Daemon::new();
        let api = api.max_response_size(limit).unwrap();
        let served = async { daemon.next().await.answer(200, body) };
        let (result, ()) = tokio::join!(api.oneshot(poll()), served);
        match result {
            Ok(_) => assert!(fits, "{limit}"),
            Err(error) => {
                let text = format!("GET http://daemon.test/jobs/7: response from the daemon larger than {limit} bytes");
                assert_eq!(error.to_string(), text);
                assert!(!fits && error.is_bad_response() && !error.is_retryable());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed_and_says_where_it_leads() {
    for status in [301, 302, 303, 307, 308] {
        let error = exchange(ListModels, |asked| {
            let to = Response::builder().status(status).header("location", "https://elsewhere.test/");
            asked.respond(to.body(AnswerBody::default()).unwrap());
        });
        assert_eq!(
            error.await.unwrap_err().to_string(),
            format!(
                "GET http://daemon.test/api/tags: daemon returned {status}: redirect to https://elsewhere.test/ not followed"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_daemons_reason_is_told_and_never_too_long() {
    let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(10_000));
    let error = exchange(ListModels, |asked| asked.answer(500, long)).await.unwrap_err();
    assert_eq!(error.reason().map(str::len), Some(500));

    for body in ["", "oops", "{}", r#"{"error":7}"#, r#"{"error":null}"#] {
        let error = exchange(ListModels, |asked| asked.answer(500, body)).await.unwrap_err();
        assert_eq!(error.reason(), None, "{body}");
        assert_eq!(error.to_string(), "GET http://daemon.test/api/tags: daemon returned 500 Internal Server Error");
    }
}
