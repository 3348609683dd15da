use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Rejection;

/// How long a body may take to arrive; hyper has a time-out for headers only.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole body of a request that says that it is JSON.
pub(super) async fn read(request: Request<Body>, limit: usize) -> Result<Bytes, Rejection> {
    expect_json(request.headers())?;
    let too_large = || Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"));
    if declared(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), limit).collect()).await;
    match body {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Rejection::new(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => {
            Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, "the body took too long").with(header::CONNECTION, "close"))
        }
    }
}

/// A JSON object of that shape: 400 if it is not JSON, 422 if it is anything else.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    // serde would take an array for a struct.
    let object = body.trim_ascii_start().starts_with(b"{");
    let parsed = if object {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice::<IgnoredAny>(body)
            .and_then(|_| Err(serde::de::Error::custom("the body must be a JSON object")))
    };
    parsed.map_err(|error: serde_json::Error| match error.classify() {
        serde_json::error::Category::Data => Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        _ => Rejection::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")),
    })
}

/// An answer that is JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let head = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, head, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn expect_json(headers: &HeaderMap) -> Result<(), Rejection> {
    let unsupported = |why| Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return unsupported("an encoded body is not taken");
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    unsupported("Content-Type must be application/json")
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
