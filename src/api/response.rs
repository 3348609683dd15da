//! What all endpoints' answers have in common.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
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
        Error::response(format!("{why}: it begins with {begin:?}")).with_source(error)
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
    fn the_daemons_reason_is_in_the_error() {
        let answer = Response::builder().status(422).body(Bytes::from(r#"{"error":"no such model"}"#)).unwrap();
        let error = expect(&answer, StatusCode::OK).unwrap_err();
        assert!(error.is_rejected() && error.is_safe_to_resubmit() && !error.is_retryable());
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
            assert!(error.is_bad_response() && error.to_string().contains(why), "{body}: {error}");
        }
    }
}
