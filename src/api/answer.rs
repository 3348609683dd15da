//! What all endpoints' answers have in common.

use std::time::SystemTime;

use bytes::Bytes;
use foreman_protocol::retry_after;
use http::header::LOCATION;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::Kind;

/// The longest reason that is kept, in characters: it is for a log line.
const REASON: usize = 500;

/// The answer's JSON, if it has the status of success.
pub(super) fn json<T: DeserializeOwned>(answer: &Response<Bytes>, success: StatusCode) -> Result<T, Error> {
    expect(answer, success)?;
    serde_json::from_slice(answer.body()).map_err(|error| {
        let begin = String::from_utf8_lossy(&answer.body()[..answer.body().len().min(80)]).into_owned();
        let why = match error.classify() {
            serde_json::error::Category::Eof => "the JSON is cut off",
            serde_json::error::Category::Data => "the JSON has another shape",
            _ => "it is not JSON",
        };
        Error::answer(format!("{why}: it begins with {begin:?}")).with_source(error)
    })
}

/// An error for any status but the one of success.
pub(super) fn expect(answer: &Response<Bytes>, success: StatusCode) -> Result<(), Error> {
    if answer.status() == success {
        return Ok(());
    }
    Err(Error::new(Kind::Status {
        status: answer.status(),
        reason: reason(answer),
        retry_after: retry_after(answer.headers(), SystemTime::now()),
    }))
}

/// Why the daemon said no: its `{"error": "…"}`, or, for a redirect, where it leads.
fn reason(answer: &Response<Bytes>) -> Option<String> {
    #[derive(Deserialize)]
    struct Reason {
        error: String,
    }
    if answer.status().is_redirection() {
        let to = answer.headers().get(LOCATION).map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
        return Some(format!("a redirect to {to}, which is not followed"));
    }
    let reason: Reason = serde_json::from_slice(answer.body()).ok()?;
    Some(reason.error.chars().take(REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_reason_is_in_the_error() {
        let answer = Response::builder().status(422).body(Bytes::from(r#"{"error":"no such model"}"#)).unwrap();
        let error = expect(&answer, StatusCode::OK).unwrap_err();
        assert!(error.is_rejected() && error.is_unsent() && !error.is_retryable());
        assert_eq!(error.reason(), Some("no such model"));
        assert_eq!(error.to_string(), "the daemon answered 422: no such model");
    }

    #[test]
    fn a_redirect_says_where_it_leads() {
        let answer = Response::builder().status(302).header(LOCATION, "/login").body(Bytes::new()).unwrap();
        let error = expect(&answer, StatusCode::OK).unwrap_err();
        assert_eq!(error.to_string(), "the daemon answered 302: a redirect to /login, which is not followed");
    }

    #[test]
    fn what_is_no_json_is_quoted() {
        for (body, why) in [("<html>", "not JSON"), ("{\"a\":", "cut off"), ("[]", "another shape"), ("", "cut off")] {
            let answer = Response::new(Bytes::from(body));
            let error = json::<crate::JobStatus>(&answer, StatusCode::OK).unwrap_err();
            assert!(error.is_bad_answer() && error.to_string().contains(why), "{body}: {error}");
        }
    }
}
