use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use foreman_protocol::HumanDuration;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::{Transient, Unavailable};
use crate::BoxError;

/// The longest stored message of a server, in characters.
const MAX_MESSAGE: usize = 500;

/// Why an attempt at a model server failed. The constructors decide which failures are transient.
#[derive(Debug)]
pub(crate) struct BackendError {
    kind: BackendErrorKind,
    source: Option<BoxError>,
}

#[derive(Debug)]
enum BackendErrorKind {
    /// To the server at this URL.
    Connect(String),
    Disconnected,
    Stalled(Duration),
    AttemptTimeout(Duration),
    Status(StatusCode, Option<String>),
    Reported(String),
    InvalidResponse(&'static str),
    TooLarge(usize),
}

impl BackendError {
    pub(crate) fn connect(url: impl Into<String>, source: BoxError) -> BoxError {
        Self { kind: BackendErrorKind::Connect(url.into()), source: Some(source) }.unavailable(None)
    }

    pub(crate) fn disconnected(source: BoxError) -> BoxError {
        Self { kind: BackendErrorKind::Disconnected, source: Some(source) }.transient()
    }

    /// The server sent nothing within the limit.
    pub(crate) fn stalled(limit: Duration) -> BoxError {
        Self::new(BackendErrorKind::Stalled(limit)).transient()
    }

    pub(crate) fn invalid_response(reason: &'static str) -> BoxError {
        Self::new(BackendErrorKind::InvalidResponse(reason)).transient()
    }

    pub(crate) fn invalid_json(reason: &'static str, source: serde_json::Error) -> BoxError {
        Self { kind: BackendErrorKind::InvalidResponse(reason), source: Some(source.into()) }.transient()
    }

    /// Final: another attempt would take as long.
    pub(crate) fn attempt_timeout(limit: Duration) -> BoxError {
        Self::new(BackendErrorKind::AttemptTimeout(limit)).into()
    }

    /// Final: the next response would be as large.
    pub(crate) fn too_large(limit: usize) -> BoxError {
        Self::new(BackendErrorKind::TooLarge(limit)).into()
    }

    /// The response has a status other than 200. `retry_after`: what it asks for.
    pub(crate) fn status(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> BoxError {
        let message = serde_json::from_slice(body).ok().as_ref().and_then(body_message);
        Self::new(BackendErrorKind::Status(status, message)).by_status(status, retry_after)
    }

    /// Whether the server does not know what it was asked for.
    pub(super) fn is_unknown_endpoint(error: &BoxError) -> bool {
        let status = match error.downcast_ref::<Self>().map(|error| &error.kind) {
            Some(BackendErrorKind::Status(status, _)) => *status,
            _ => return false,
        };
        [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED].contains(&status)
    }

    /// The server reported an error during a stream. It is final only if it names a final status.
    pub(crate) fn reported(error: &Value) -> BoxError {
        let reported =
            Self::new(BackendErrorKind::Reported(message(error).unwrap_or_else(|| truncated(&error.to_string()))));
        let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) if is_error_status(status) => reported.by_status(status, None),
            _ => reported.transient(),
        }
    }

    fn new(kind: BackendErrorKind) -> Self {
        Self { kind, source: None }
    }

    fn transient(self) -> BoxError {
        Transient::new(self).into()
    }

    fn unavailable(self, retry_after: Option<Duration>) -> BoxError {
        Unavailable::new(self).retry_after(retry_after).into()
    }

    fn by_status(self, status: StatusCode, retry_after: Option<Duration>) -> BoxError {
        match status {
            // It has too much to do, or it is loading a model.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => self.unavailable(retry_after),
            _ if is_transient_status(status) => self.transient(),
            _ => self.into(),
        }
    }
}

fn is_error_status(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn is_transient_status(status: StatusCode) -> bool {
    match status {
        // The server was built or started without it: llama.cpp responds so to embeddings.
        StatusCode::NOT_IMPLEMENTED => false,
        StatusCode::REQUEST_TIMEOUT => true,
        _ => status.is_server_error(),
    }
}

/// `{"error": "…"}` of Ollama, `{"error": {"message": "…"}}` of OpenAI, `{"message": "…"}` of similar servers.
fn body_message(body: &Value) -> Option<String> {
    message(body.get("error").unwrap_or(body))
}

fn message(error: &Value) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ErrorValue<'a> {
        Text(&'a str),
        Object { message: &'a str },
    }
    match ErrorValue::deserialize(error).ok()? {
        ErrorValue::Text(text) | ErrorValue::Object { message: text } => Some(truncated(text)),
    }
}

fn truncated(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            BackendErrorKind::Connect(url) => write!(f, "cannot connect to {url}"),
            BackendErrorKind::Disconnected => f.write_str("connection to the model server lost"),
            BackendErrorKind::Stalled(limit) => {
                write!(f, "no data from the model server for {}", HumanDuration(*limit))
            }
            BackendErrorKind::AttemptTimeout(limit) => write!(f, "attempt timed out after {}", HumanDuration(*limit)),
            BackendErrorKind::Status(status, Some(message)) => {
                write!(f, "the model server returned {}: {message}", status.as_u16())
            }
            BackendErrorKind::Status(status, None) => write!(f, "the model server returned {status}"),
            BackendErrorKind::Reported(message) => write!(f, "the model server failed: {message}"),
            BackendErrorKind::InvalidResponse(reason) => write!(f, "invalid response from the model server: {reason}"),
            BackendErrorKind::TooLarge(limit) => write!(f, "response of the model server exceeds {limit} bytes"),
        }
    }
}

impl StdError for BackendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::transient::is_transient;
    use crate::failure::failure;

    fn class_of(error: &BoxError) -> &'static str {
        match Unavailable::find(error.as_ref()) {
            Some(_) => "unavailable",
            None if is_transient(error.as_ref()) => "transient",
            None => "final",
        }
    }

    #[test]
    fn status_decides_class_and_body_gives_message() {
        for (status, body, class, text) in [
            (404, r#"{"error":"model 'x' not found"}"#, "final", "the model server returned 404: model 'x' not found"),
            (400, r#"{"error":{"message":"no","code":1}}"#, "final", "the model server returned 400: no"),
            (422, r#"{"object":"error","message":"bad"}"#, "final", "the model server returned 422: bad"),
            (401, "", "final", "the model server returned 401 Unauthorized"),
            (302, "<html>", "final", "the model server returned 302 Found"),
            (501, r#"{"error":"no"}"#, "final", "the model server returned 501: no"),
            (408, r#"{"error":7}"#, "transient", "the model server returned 408 Request Timeout"),
            (429, r#"{"error":"busy"}"#, "unavailable", "the model server returned 429: busy"),
            (500, "[]", "transient", "the model server returned 500 Internal Server Error"),
            (503, r#"{"error":"loading"}"#, "unavailable", "the model server returned 503: loading"),
        ] {
            let error = BackendError::status(StatusCode::from_u16(status).unwrap(), None, body.as_bytes());
            assert_eq!(class_of(&error), class, "{status}");
            assert!(failure(error.as_ref()).ends_with(text), "{status}: {}", failure(error.as_ref()));
        }
    }

    #[test]
    fn reported_error_is_transient_unless_it_names_another_status() {
        for (json, class, text) in [
            (r#""out of memory""#, "transient", "the model server failed: out of memory"),
            (r#"{"message":"m","code":500}"#, "transient", "the model server failed: m"),
            (r#"{"message":"m","code":429}"#, "unavailable", "the model server failed: m"),
            (r#"{"message":"m","code":400}"#, "final", "the model server failed: m"),
            (r#"{"a":1}"#, "transient", r#"the model server failed: {"a":1}"#),
        ] {
            let error = BackendError::reported(&serde_json::from_str(json).unwrap());
            assert_eq!(class_of(&error), class, "{json}");
            assert!(failure(error.as_ref()).ends_with(text), "{json}: {}", failure(error.as_ref()));
        }
    }
}
