use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use foreman_protocol::http1::{BodyBytes, ByteBudget, ByteLease};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Rejection;

/// The time limit for receiving a body. hyper has a timeout for headers only.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How large bodies may be.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    /// Of one body, in bytes.
    pub(crate) body: usize,
    /// Of the memory of all bodies, from their first byte until they are stored.
    pub(crate) all: ByteBudget,
}

/// Reads the body of a request. Its `Content-Type` must be JSON. The lease is for as long as the body is in memory.
pub(super) async fn read(request: Request<Body>, limits: &BodyLimits) -> Result<(Bytes, ByteLease), Rejection> {
    expect_json(request.headers())?;
    let declared = content_length(request.headers());
    if declared.is_some_and(|length| length > limits.body as u64) {
        return Err(too_large(limits.body));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, collect(request.into_body(), limits)).await;
    body.unwrap_or_else(|_| {
        let timeout = Rejection::new(StatusCode::REQUEST_TIMEOUT, "timeout while reading the body");
        Err(timeout.with(header::CONNECTION, HeaderValue::from_static("close")))
    })
}

async fn collect(mut body: Body, limits: &BodyLimits) -> Result<(Bytes, ByteLease), Rejection> {
    let (mut bytes, mut lease) = (BodyBytes::default(), limits.all.lease());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Rejection::new(StatusCode::BAD_REQUEST, "incomplete body"))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limits.body - bytes.len() {
            return Err(too_large(limits.body));
        }
        if !lease.grow(BodyBytes::memory(data.len())) {
            let overloaded = "too many bytes in the bodies of other requests";
            return Err(Rejection::retry_after(StatusCode::SERVICE_UNAVAILABLE, overloaded, 1));
        }
        bytes.push(data);
    }
    Ok((bytes.take(), lease))
}

fn too_large(limit: usize) -> Rejection {
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, format!("body exceeds {limit} bytes"))
}

/// Parses a JSON object: 400 if the body is not JSON, 422 if the JSON has another shape.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    // serde accepts an array as a struct.
    let object = body.trim_ascii_start().starts_with(b"{");
    let parsed = if object {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice::<IgnoredAny>(body)
            .and_then(|_| Err(serde::de::Error::custom("body must be a JSON object")))
    };
    parsed.map_err(|error: serde_json::Error| match error.classify() {
        serde_json::error::Category::Data => Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        _ => Rejection::new(StatusCode::BAD_REQUEST, format!("invalid JSON: {error}")),
    })
}

/// A JSON response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let head = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, head, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot serialize a response");
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
        return unsupported("unsupported Content-Encoding");
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    unsupported("Content-Type must be application/json")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
