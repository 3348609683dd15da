//! What the responses of all endpoints have in common.

use std::time::SystemTime;

use bytes::Bytes;
use foreman_protocol::retry_after;
use http::header::LOCATION;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::Kind;

/// The longest reason that is stored, in characters: it is for a log line.
const MAX_REASON: usize = 500;

/// The JSON of a response with the success status.
pub(super) fn json<T: DeserializeOwned>(response: &Response<Bytes>, success: StatusCode) -> Result<T, Error> {
    expect(response, success)?;
    serde_json::from_slice(response.body()).map_err(|error| {
        let start = String::from_utf8_lossy(&response.body()[..response.body().len().min(80)]).into_owned();
        let problem = match error.classify() {
            serde_json::error::Category::Eof => "truncated JSON",
            serde_json::error::Category::Data => "JSON of another shape",
            _ => "not JSON",
        };
        Error::response(format!("{problem}, starting with {start:?}")).with_source(error)
    })
}

/// Fails for every status other than the success status.
pub(super) fn expect(response: &Response<Bytes>, success: StatusCode) -> Result<(), Error> {
    if response.status() == success {
        return Ok(());
    }
    Err(Error::new(Kind::Status {
        status: response.status(),
        reason: reason(response),
        retry_after: retry_after(response.headers(), SystemTime::now()),
    }))
}

/// The `error` field of the body, or the target of a redirect.
fn reason(response: &Response<Bytes>) -> Option<String> {
    #[derive(Deserialize)]
    struct Reason {
        error: String,
    }
    if response.status().is_redirection() {
        let to = response.headers().get(LOCATION).map_or("nowhere".into(), |to| String::from_utf8_lossy(to.as_bytes()));
        return Some(format!("redirect to {to} not followed"));
    }
    let reason: Reason = serde_json::from_slice(response.body()).ok()?;
    Some(reason.error.chars().take(MAX_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_contains_reason_of_daemon() {
        let response = Response::builder().status(422).body(Bytes::from(r#"{"error":"no such model"}"#)).unwrap();
        let error = expect(&response, StatusCode::OK).unwrap_err();
        assert!(error.is_rejected() && error.is_safe_to_resubmit() && !error.is_retryable());
        assert_eq!(error.reason(), Some("no such model"));
        assert_eq!(error.to_string(), "daemon returned 422: no such model");
    }

    #[test]
    fn redirect_is_an_error_with_its_target() {
        let response = Response::builder().status(302).header(LOCATION, "/login").body(Bytes::new()).unwrap();
        let error = expect(&response, StatusCode::OK).unwrap_err();
        assert_eq!(error.to_string(), "daemon returned 302: redirect to /login not followed");
    }

    #[test]
    fn start_of_unusable_body_is_in_error() {
        for (body, why) in
            [("<html>", "not JSON"), ("{\"a\":", "truncated"), ("[]", "another shape"), ("", "truncated")]
        {
            let response = Response::new(Bytes::from(body));
            let error = json::<crate::JobStatus>(&response, StatusCode::OK).unwrap_err();
            assert!(error.is_bad_response() && error.to_string().contains(why), "{body}: {error}");
        }
    }
}
