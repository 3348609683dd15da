use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::{Error, SubmitRequest};

/// The time limit for the body of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The JSON body of `POST /jobs` ([`SubmitRequest::from_json`]), and the header `Idempotency-Key` of the caller, if there is one.
///
/// A caller that repeats its request with the same key gets the same job, if the daemon supports keys. All callers of a server share the
/// server's token at the daemon, and so their keys must not collide: a caller that sends the key and the conversation of another one gets
/// the job of that one. Where callers are strangers to each other, put a prefix for each caller on the key
/// ([`SubmitRequest::builder_from_json`] and
/// [`idempotency_key`](crate::SubmitRequestBuilder::idempotency_key)) instead of using this extractor.
///
/// All fields of the body reach the daemon, also one such as `keep_alive`, by which a caller keeps a model loaded.
///
/// The body is limited in size by axum's `DefaultBodyLimit`, and in time to 30 s.
impl<S: Send + Sync> FromRequest<S> for SubmitRequest {
    type Rejection = SubmitRequestRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let key = caller_key(request.headers())?;
        let body = timeout(READ_TIMEOUT, Bytes::from_request(request, state)).await;
        let body = body.map_err(|_| SubmitRequestRejection::Timeout)?.map_err(SubmitRequestRejection::Body)?;
        let mut builder = SubmitRequest::builder_from_json(&body)?;
        if let Some(key) = key {
            builder = builder.idempotency_key(key);
        }
        Ok(builder.build()?)
    }
}

fn caller_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Error::invalid("idempotency_key", "must not be sent twice"));
    }
    let key =
        key.to_str().map_err(|_| Error::invalid("idempotency_key", "must consist of visible ASCII characters"))?;
    Ok(Some(key.to_owned()))
}

/// Why a [`SubmitRequest`] cannot be extracted.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubmitRequestRejection {
    /// The body cannot be read, or is over the limit.
    Body(BytesRejection),
    /// The body did not arrive in time. The response is a 408.
    Timeout,
    /// It is not a chat request.
    Request(Error),
}

impl From<Error> for SubmitRequestRejection {
    fn from(error: Error) -> Self {
        Self::Request(error)
    }
}

impl IntoResponse for SubmitRequestRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Body(rejection) => rejection.into_response(),
            Self::Timeout => StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::Request(error) => error.into_response(),
        }
    }
}
