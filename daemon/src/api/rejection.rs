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

    /// A rejection because of something whose end the daemon does not know. Up to half is added to `Retry-After`, so that the clients that
    /// are rejected at one time do not come back at one time.
    pub(super) fn retry_about(status: StatusCode, reason: impl Into<Cow<'static, str>>, seconds: u64) -> Self {
        Self::retry_after(status, reason, seconds + fastrand::u64(..=seconds / 2))
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
        Self::retry_about(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), 10)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clients_that_are_rejected_together_come_back_apart() {
        fastrand::seed(7);
        let pause = || {
            let response = Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, "store failure", 10).into_response();
            response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap()
        };
        let pauses: BTreeSet<_> = (0..1_000).map(|_| pause()).collect();
        assert_eq!(pauses, (10..=15).collect());
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn transaction_in_doubt_invites_no_repetition() {
        let response = |error: StoreError| Rejection::from(error).into_response();
        let in_doubt = response(StoreError::in_doubt());
        assert_eq!((in_doubt.status().as_u16(), in_doubt.headers().get("retry-after")), (500, None));
        let failed = response(StoreError::closed());
        assert!(failed.status().as_u16() == 503 && failed.headers().contains_key("retry-after"));
    }
}
