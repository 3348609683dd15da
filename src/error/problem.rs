use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::Error;
use super::class::ErrorClass;
use crate::JobId;

/// The header with the id of the job: in the response that a [`JobResult`](crate::JobResult) is, and in the response that an
/// [`Error`] is if the job is known.
pub const JOB_ID: HeaderName = HeaderName::from_static("foreman-job-id");

/// Problem details (RFC 9457): the standard members, then our own.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_state: Option<&'a str>,
    may_be_running: bool,
}

impl Error {
    /// The problem details as JSON.
    pub(crate) fn problem(&self) -> String {
        let class = ErrorClass::of(self);
        let problem = Problem {
            title: class.title(),
            status: http_status(class, self).as_u16(),
            detail: class.detail(self),
            job_id: self.job_id().map(AsRef::as_ref),
            idempotency_key: self.idempotency_key().map(|key| key.to_string()),
            last_state: self.last_state().map(crate::JobState::as_str),
            may_be_running: self.may_be_running(),
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let class = ErrorClass::of(&self);
        let mut response = (http_status(class, &self), self.problem()).into_response();
        if let Some(job_id) = self.job_id() {
            set_job_id(&mut response, job_id);
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = class.retry_after(&self) {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        // For a middleware that logs: the body does not contain the causes.
        response.extensions_mut().insert(self);
        response
    }
}

fn http_status(class: ErrorClass, error: &Error) -> StatusCode {
    match class {
        ErrorClass::Invalid => StatusCode::BAD_REQUEST,
        ErrorClass::Rejected if error.status() == Some(StatusCode::BAD_REQUEST) => StatusCode::BAD_REQUEST,
        ErrorClass::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorClass::NotFound => StatusCode::NOT_FOUND,
        ErrorClass::Conflict => StatusCode::CONFLICT,
        ErrorClass::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorClass::Overloaded | ErrorClass::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorClass::Deadline | ErrorClass::Interrupted => StatusCode::GATEWAY_TIMEOUT,
        ErrorClass::Unreachable | ErrorClass::Daemon | ErrorClass::Failed => StatusCode::BAD_GATEWAY,
    }
}

pub(crate) fn set_job_id(response: &mut Response, job_id: &JobId) {
    // An id may have characters that a header may not. A problem has the id in its body too.
    if let Ok(value) = HeaderValue::from_str(job_id.as_str()) {
        response.headers_mut().insert(JOB_ID, value);
    }
}
