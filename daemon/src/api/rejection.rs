use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::json;
use crate::failure::failure;
use crate::store::StoreError;

/// An answer that means no: a status and `{"error": "…"}`.
#[derive(Debug)]
pub(super) struct Rejection {
    status: StatusCode,
    why: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into(), header: None }
    }

    pub(super) fn unknown_job() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such job")
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// Not now; in that many seconds perhaps.
    pub(super) fn later(status: StatusCode, why: &'static str, seconds: &'static str) -> Self {
        Self::new(status, why).with(header::RETRY_AFTER, seconds)
    }
}

/// What was asked for was not done, and may be asked for again.
impl From<StoreError> for Rejection {
    fn from(broken: StoreError) -> Self {
        tracing::error!(error = %failure(&broken), "the store cannot be used");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, broken.to_string()).with(header::RETRY_AFTER, "10")
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &Body { error: &self.why });
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
