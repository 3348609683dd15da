//! What the responses of all endpoints have in common.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
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

/// `Retry-After`: seconds, or an HTTP date as seen from `now`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
    }

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
