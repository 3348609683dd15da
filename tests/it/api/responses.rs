//! Unusable responses and the text of their errors.

use foreman_client::api::{GetJob, ListModels};
use http::Response;

use tower::ServiceExt;

use crate::support::{ScriptedBody, ScriptedDaemon, bounded_paused, error_chain, exchange, job_id, request};

fn poll() -> GetJob {
    GetJob::new(job_id("7"))
}

#[tokio::test(start_paused = true)]
async fn unusable_poll_response_names_url_and_reason() {
    for (body, reason) in [
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
        let error = exchange(poll(), |request| request.respond(200, body)).await.unwrap_err();
        let text = error_chain(&error);
        assert!(text.starts_with("GET http://daemon.test/jobs/7: unusable response from the daemon: "), "{text}");
        assert!(text.contains(reason), "{body}: {text}");
        assert!(error.is_bad_response() && error.is_retryable() && !error.is_safe_to_resubmit(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn unusable_job_id_in_202_is_reported() {
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
        let error = exchange(request(), |request| request.respond(202, body)).await.unwrap_err();
        let text = error_chain(&error);
        assert!(text.starts_with("POST http://daemon.test/jobs: unusable response from the daemon"), "{text}");
        assert!(error.is_bad_response() && !error.is_safe_to_resubmit(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn truncated_body_is_a_lost_connection() {
    let cut = ScriptedBody::from(r#"{"job_id":"7","#).then_reset();
    let error = exchange(poll(), |request| request.respond(200, cut)).await.unwrap_err();
    assert_eq!(error_chain(&error), "GET http://daemon.test/jobs/7: connection to the daemon lost: connection reset");
    assert!(error.is_retryable() && !error.is_safe_to_resubmit() && !error.is_bad_response());
}

#[tokio::test(start_paused = true)]
async fn body_in_pieces_is_joined() {
    let pieces = ScriptedBody::from(r#"{"job_id""#).then("").then(r#":"7","state":"#).then(r#""running"}"#);
    let polled = exchange(poll(), |request| request.respond(200, pieces)).await.unwrap();
    assert_eq!(polled.status.state.as_str(), "running");
}

#[tokio::test(start_paused = true)]
async fn response_beyond_limit_fails() {
    let whole = r#"{"job_id":"7","state":"done"}"#;
    for (limit, body, fits) in [
        (whole.len(), ScriptedBody::from(whole), true),
        (whole.len() - 1, ScriptedBody::from(whole), false),
        // The declared size is too large. The body is not read.
        (whole.len(), ScriptedBody::default().then_silence().declared(whole.len() as u64 + 1), false),
        // The body is too large, whatever size it declares.
        (whole.len() - 1, ScriptedBody::from(&whole[..9]).then(&whole[9..]).then_silence(), false),
        (1, ScriptedBody::from("x").then("y").declared(1), false),
    ] {
        let (api, mut daemon) = ScriptedDaemon::new();
        let api = api.max_response_size(limit).unwrap();
        let serve = async { daemon.next().await.respond(200, body) };
        let (result, ()) = bounded_paused(async { tokio::join!(api.oneshot(poll()), serve) }).await;
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
async fn redirect_is_an_error_with_location() {
    for status in [301, 302, 303, 307, 308] {
        let error = exchange(ListModels, |request| {
            let to = Response::builder().status(status).header("location", "https://elsewhere.test/");
            request.respond_with(to.body(ScriptedBody::default()).unwrap());
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
async fn daemon_reason_is_truncated() {
    let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(10_000));
    let error = exchange(ListModels, |request| request.respond(500, long)).await.unwrap_err();
    assert_eq!(error.reason().map(str::len), Some(500));

    for body in ["", "oops", "{}", r#"{"error":7}"#, r#"{"error":null}"#] {
        let error = exchange(ListModels, |request| request.respond(500, body)).await.unwrap_err();
        assert_eq!(error.reason(), None, "{body}");
        assert_eq!(error.to_string(), "GET http://daemon.test/api/tags: daemon returned 500 Internal Server Error");
    }
}
