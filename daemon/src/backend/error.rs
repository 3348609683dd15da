use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::Transient;
use crate::BoxError;

/// The longest reason that is kept, in characters: it is for a log line.
const REASON: usize = 500;

/// Why an attempt at a model server failed. Its constructors say which of them may go away.
#[derive(Debug)]
pub(super) struct BackendError {
    kind: Kind,
    source: Option<BoxError>,
}

#[derive(Debug)]
enum Kind {
    Connect,
    Broke,
    Stalled(Duration),
    Attempt(Duration),
    Answered(StatusCode, Option<String>),
    Said(String),
    Garbage(&'static str),
    TooLarge(usize),
}

impl BackendError {
    pub(super) fn connect(source: BoxError) -> BoxError {
        Self { kind: Kind::Connect, source: Some(source) }.transient()
    }

    pub(super) fn broke(source: BoxError) -> BoxError {
        Self { kind: Kind::Broke, source: Some(source) }.transient()
    }

    /// Nothing came for so long.
    pub(super) fn stalled(limit: Duration) -> BoxError {
        Self::of(Kind::Stalled(limit)).transient()
    }

    /// The answer is not what such a server says.
    pub(super) fn garbage(why: &'static str) -> BoxError {
        Self::of(Kind::Garbage(why)).transient()
    }

    pub(super) fn garbage_json(why: &'static str, source: serde_json::Error) -> BoxError {
        Self { kind: Kind::Garbage(why), source: Some(source.into()) }.transient()
    }

    /// Final: it would take as long the next time.
    pub(super) fn attempt(limit: Duration) -> BoxError {
        Self::of(Kind::Attempt(limit)).into()
    }

    /// Final: it would be as large the next time.
    pub(super) fn too_large(limit: usize) -> BoxError {
        Self::of(Kind::TooLarge(limit)).into()
    }

    /// A status that is not the one of success.
    pub(super) fn answered(status: StatusCode, body: &[u8]) -> BoxError {
        let reason = serde_json::from_slice(body).ok().as_ref().and_then(reason);
        let fault = Self::of(Kind::Answered(status, reason));
        if may_go_away(status) { fault.transient() } else { fault.into() }
    }

    /// An error in the midst of an answer that had begun well; final only if it names a status that is.
    pub(super) fn said(error: &Value) -> BoxError {
        let fault = Self::of(Kind::Said(spoken(error).unwrap_or_else(|| shortened(&error.to_string()))));
        let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) if is_failure(status) && !may_go_away(status) => fault.into(),
            _ => fault.transient(),
        }
    }

    fn of(kind: Kind) -> Self {
        Self { kind, source: None }
    }

    fn transient(self) -> BoxError {
        Transient::new(self).into()
    }
}

fn is_failure(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn may_go_away(status: StatusCode) -> bool {
    match status {
        // What the server was not built or started for: llama.cpp says so of embeddings.
        StatusCode::NOT_IMPLEMENTED => false,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        _ => status.is_server_error(),
    }
}

/// `{"error": "…"}` of Ollama, `{"error": {"message": "…"}}` of OpenAI, `{"message": "…"}` of some that are like it.
fn reason(body: &Value) -> Option<String> {
    spoken(body.get("error").unwrap_or(body))
}

fn spoken(error: &Value) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spoken<'a> {
        Plain(&'a str),
        Object { message: &'a str },
    }
    match Spoken::deserialize(error).ok()? {
        Spoken::Plain(text) | Spoken::Object { message: text } => Some(shortened(text)),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON).collect()
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Connect => f.write_str("cannot connect to the model server"),
            Kind::Broke => f.write_str("the exchange with the model server broke off"),
            Kind::Stalled(limit) => write!(f, "nothing came from the model server for {limit:?}"),
            Kind::Attempt(limit) => write!(f, "the model server was not done within {limit:?}"),
            Kind::Answered(status, Some(reason)) => {
                write!(f, "the model server answered {}: {reason}", status.as_u16())
            }
            Kind::Answered(status, None) => write!(f, "the model server answered {status}"),
            Kind::Said(reason) => write!(f, "the model server failed: {reason}"),
            Kind::Garbage(why) => write!(f, "the model server's answer cannot be used: {why}"),
            Kind::TooLarge(limit) => write!(f, "the model server's answer is larger than {limit} bytes"),
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

    #[test]
    fn the_status_says_whether_it_may_go_away_and_the_body_why() {
        for (status, body, transient, text) in [
            (404, r#"{"error":"model 'x' not found"}"#, false, "the model server answered 404: model 'x' not found"),
            (400, r#"{"error":{"message":"no","code":1}}"#, false, "the model server answered 400: no"),
            (422, r#"{"object":"error","message":"bad"}"#, false, "the model server answered 422: bad"),
            (401, "", false, "the model server answered 401 Unauthorized"),
            (302, "<html>", false, "the model server answered 302 Found"),
            (501, r#"{"error":"no"}"#, false, "the model server answered 501: no"),
            (408, r#"{"error":7}"#, true, "the model server answered 408 Request Timeout"),
            (429, r#"{"error":"busy"}"#, true, "the model server answered 429: busy"),
            (500, "[]", true, "the model server answered 500 Internal Server Error"),
            (503, r#"{"error":"loading"}"#, true, "the model server answered 503: loading"),
        ] {
            let error = BackendError::answered(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(is_transient(error.as_ref()), transient, "{status}");
            assert!(failure(error.as_ref()).ends_with(text), "{status}: {}", failure(error.as_ref()));
        }
    }

    #[test]
    fn an_error_within_an_answer_may_go_away_unless_it_names_a_status_that_does_not() {
        for (json, transient, text) in [
            (r#""out of memory""#, true, "the model server failed: out of memory"),
            (r#"{"message":"m","code":500}"#, true, "the model server failed: m"),
            (r#"{"message":"m","code":429}"#, true, "the model server failed: m"),
            (r#"{"message":"m","code":400}"#, false, "the model server failed: m"),
            (r#"{"a":1}"#, true, r#"the model server failed: {"a":1}"#),
        ] {
            let error = BackendError::said(&serde_json::from_str(json).unwrap());
            assert_eq!(is_transient(error.as_ref()), transient, "{json}");
            assert!(failure(error.as_ref()).ends_with(text), "{json}: {}", failure(error.as_ref()));
        }
    }
}
