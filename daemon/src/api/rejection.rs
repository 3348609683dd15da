use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::json;
use crate::store::StoreError;

/// An error response: a status and `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct Rejection {
    status: StatusCode,
    reason: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), header: None }
    }

    pub(super) fn unknown_job() -> Self {
        Self::new(StatusCode::NOT_FOUND, "job not found")
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// A rejection with `Retry-After`.
    pub(super) fn retry_after(status: StatusCode, reason: impl Into<Cow<'static, str>>, seconds: u64) -> Self {
        Self::new(status, reason).with(header::RETRY_AFTER, seconds)
    }
}

/// Nothing has changed, and the request may be repeated, unless the database refuses it each time, or the transaction is in doubt: then
/// nothing invites a repetition.
impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        #[cfg(feature = "postgres")]
        if error.is_refused_value() {
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the database refuses a value of the request");
        }
        if error.is_in_doubt() {
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        }
        Self::retry_after(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 10)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &ErrorBody { error: &self.reason });
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[cfg(feature = "postgres")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_in_doubt_invites_no_repetition() {
        let response = |error: StoreError| Rejection::from(error).into_response();
        let in_doubt = response(StoreError::in_doubt());
        assert_eq!((in_doubt.status().as_u16(), in_doubt.headers().get("retry-after")), (500, None));
        let failed = response(StoreError::closed());
        assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].as_bytes()), (503, &b"10"[..]));
    }
}
