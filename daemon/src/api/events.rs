use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{App, Rejection};
use crate::failure::failure;
use crate::owner::Owner;
use crate::streams::check_name;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const MEDIA_TYPE: &str = "text/event-stream";

/// Unknown ones are refused: a stream without its name is one of all jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    stream: Option<String>,
}

/// `GET /events?stream=`
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let bad_request = |reason: String| Rejection::new(StatusCode::BAD_REQUEST, reason);
    let Query(Parameters { stream }) = parameters.map_err(|error| bad_request(error.body_text()))?;
    if let Some(name) = &stream {
        check_name("stream", name).map_err(|error| bad_request(failure(&error).to_string()))?;
    }
    if !accepts(&headers) {
        return Err(Rejection::new(StatusCode::NOT_ACCEPTABLE, "the response is text/event-stream"));
    }
    if app.closing.is_cancelled() {
        return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping", 5));
    }
    if app.jobs.streams.are_suspended() {
        let reason = "the daemon cannot read the changes of jobs in its database";
        return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, reason, 5));
    }
    // An id that is not text was not made by this daemon.
    let last_id = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let Some(reader) = app.jobs.streams.open(owner, stream.as_deref(), last_id) else {
        return Err(Rejection::retry_about(StatusCode::SERVICE_UNAVAILABLE, "too many event streams", 10));
    };
    let ended = app.ended.clone();
    let parts = stream::unfold((reader, ended), |(mut reader, ended)| async move {
        let part = reader.next(&ended).await?;
        Some((Ok::<_, std::convert::Infallible>(part), (reader, ended)))
    });
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects responses would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// Whether the client takes an event stream.
fn accepts(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return true;
    }
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = values.flat_map(|value| value.split(',')).map(range).collect();
    // The most specific range decides.
    let decides = |media| ranges.iter().find(|(range, _)| range == media).map(|(_, accepted)| *accepted);
    [MEDIA_TYPE, "text/*", "*/*"].iter().find_map(decides).unwrap_or(false)
}

/// A media range in lower case, and whether its quality is not zero.
fn range(text: &str) -> (String, bool) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok());
    (media, quality != Some(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_ranges_are_compared() {
        for (accept, accepted) in [
            (None, true),
            (Some("text/event-stream"), true),
            (Some("application/json, Text/*;q=0.1"), true),
            (Some("*/*"), true),
            (Some("application/json"), false),
            (Some("text/event-stream;q=0"), false),
            (Some("*/*, text/event-stream; q=0.0"), false),
            (Some("text/*;q=0, text/event-stream"), true),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
            assert_eq!(accepts(&headers), accepted, "{accept:?}");
        }
    }
}
