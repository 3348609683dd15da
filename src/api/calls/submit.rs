use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;

use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::submission::{IdempotencyKey, InFlightRequest, SendingTo};
use crate::{Error, JobId, SubmitRequest};

/// draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The daemon accepted a submission: the `202` of `POST /jobs`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The id of the job (`job_id` on the wire).
    pub job_id: JobId,
    /// Whether the daemon supports idempotency keys, which it shows by echoing the header `Idempotency-Key`. Sending the same request
    /// to it again returns the same job.
    pub supports_idempotency: bool,
}

impl Accepted {
    /// A response without an echo of the key: for test doubles.
    #[must_use]
    pub fn new(job_id: JobId) -> Self {
        Self { job_id, supports_idempotency: false }
    }

    /// The same with an echo of the key.
    #[must_use]
    pub fn with_idempotency(mut self) -> Self {
        self.supports_idempotency = true;
        self
    }
}

impl Endpoint for SubmitRequest {
    type Output = Accepted;

    const METHOD: Method = Method::POST;

    fn path(&self) -> Cow<'static, str> {
        "/jobs".into()
    }

    fn headers(&self, headers: &mut HeaderMap) {
        if let Some(key) = self.keep_alive().shared().key().and_then(IdempotencyKey::header) {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
    }

    fn body(&self) -> Result<Option<Bytes>, Error> {
        Ok(Some(SubmitRequest::body(self)))
    }

    fn annotate(&self, error: Error) -> Error {
        error.with_job(None, Some(self.submission().idempotency_key()), None)
    }

    fn send_to(&self, daemon: &SendingTo) -> Result<Option<InFlightRequest>, Error> {
        self.keep_alive().send_request(&daemon.0, self.claim())
    }

    fn sent(&self, send: InFlightRequest, result: &Result<Accepted, Error>) {
        match result {
            Ok(accepted) => send.accepted(accepted.job_id.clone()),
            Err(error) => send.failed(error),
        }
    }

    fn response(&self, response: Response<Bytes>) -> Result<Accepted, Error> {
        #[derive(Deserialize)]
        struct Body {
            job_id: String,
        }
        let body: Body = json(&response, StatusCode::ACCEPTED)?;
        let job_id = JobId::new(body.job_id).map_err(|error| Error::response("invalid job_id").with_source(error))?;
        let echo = response.headers().get(IDEMPOTENCY_KEY);
        let key = self.keep_alive().shared().key();
        let is_echo = |echo: &HeaderValue| key.is_some_and(|key| key.is(echo.as_bytes()));
        Ok(Accepted { job_id, supports_idempotency: echo.is_some_and(is_echo) })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request() -> SubmitRequest {
        SubmitRequest::builder("m").user("hi").build().unwrap()
    }

    fn accepted(body: &str) -> Result<Accepted, Error> {
        let response = Response::builder().status(202).body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        request().response(response)
    }

    #[test]
    fn key_is_sent_and_echo_recognised() {
        let request = request();
        let mut headers = HeaderMap::new();
        request.headers(&mut headers);
        let key = headers.get("idempotency-key").unwrap();
        assert_eq!(key, &request.submission().idempotency_key().to_string());

        let response = |key: &HeaderValue| {
            let body = Bytes::from(r#"{"job_id":"7"}"#);
            Response::builder().status(202).header("Idempotency-Key", key).body(body).unwrap()
        };
        assert!(request.response(response(key)).unwrap().supports_idempotency);
        assert!(!request.response(response(&HeaderValue::from_static("another"))).unwrap().supports_idempotency);
        assert!(!accepted(r#"{"job_id":"7"}"#).unwrap().supports_idempotency);
    }

    #[test]
    fn invalid_job_id_is_a_bad_response() {
        for body in [
            "{}",
            r#"{"job_id":null}"#,
            r#"{"job_id":7}"#,
            r#"{"job_id":""}"#,
            r#"{"job_id":"a/b"}"#,
            r#"{"job_id":".."}"#,
            "[]",
            "",
            "{",
        ] {
            let error = accepted(body).unwrap_err();
            assert!(error.is_bad_response() && !error.is_safe_to_resubmit(), "{body}: {error}");
        }
    }

    #[test]
    fn other_success_status_is_an_error() {
        let response = Response::builder().status(200).body(Bytes::from(r#"{"job_id":"7"}"#)).unwrap();
        assert_eq!(request().response(response).unwrap_err().status(), Some(StatusCode::OK));
    }
}
