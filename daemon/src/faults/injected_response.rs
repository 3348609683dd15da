use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use crate::InvalidValue;

/// An error response that the daemon sends in place of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedResponse {
    status: StatusCode,
    retry_after: Option<u64>,
}

impl InjectedResponse {
    /// Creates a response with this status, and a JSON body whose `error` is `injected fault`.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for a status that is not from 400 to 599.
    pub fn new(status: u16) -> Result<Self, InvalidValue> {
        let status = StatusCode::from_u16(status).ok().filter(|status| (400..600).contains(&status.as_u16()));
        let status = status.ok_or_else(|| InvalidValue::new("status", "must be from 400 to 599"))?;
        Ok(Self { status, retry_after: None })
    }

    pub(super) fn not_found() -> Self {
        Self { status: StatusCode::NOT_FOUND, retry_after: None }
    }

    /// Sets `Retry-After`, rounded up to whole seconds. Default: none.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        let more = u64::from(pause.subsec_nanos() > 0);
        self.retry_after = Some(pause.as_secs().saturating_add(more));
        self
    }

    pub(super) fn to_response(self) -> Response {
        let head = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = (self.status, head, r#"{"error":"injected fault"}"#).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_must_be_an_error() {
        for status in [0, 99, 200, 304, 399, 600, 999, u16::MAX] {
            let error = InjectedResponse::new(status).unwrap_err();
            assert_eq!(error.to_string(), "invalid status: must be from 400 to 599");
        }
        for status in [400, 404, 429, 500, 503, 599] {
            assert_eq!(InjectedResponse::new(status).unwrap().to_response().status(), status);
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_seconds() {
        let response = InjectedResponse::new(503).unwrap();
        assert!(response.to_response().headers().get("retry-after").is_none());
        for (pause, seconds) in [(0, "0"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            let response = response.retry_after(Duration::from_millis(pause)).to_response();
            assert_eq!(response.headers()["retry-after"], seconds, "{pause} ms");
        }
        assert_eq!(response.retry_after(Duration::MAX).to_response().status(), 503);
    }
}
