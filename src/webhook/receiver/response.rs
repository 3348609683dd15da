use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body_util::Empty;

use crate::source::RefusalReason;

/// The response to an accepted event.
pub(super) fn accepted() -> Response<Empty<Bytes>> {
    empty(StatusCode::NO_CONTENT)
}

/// The response to a refused request. `version` is the HTTP version of the request.
pub(super) fn refusal(reason: RefusalReason, version: Version) -> Response<Empty<Bytes>> {
    match reason {
        RefusalReason::Method => with_header(StatusCode::METHOD_NOT_ALLOWED, ALLOW, "POST"),
        RefusalReason::UnknownToken => empty(StatusCode::NOT_FOUND),
        RefusalReason::TooLarge => empty(StatusCode::PAYLOAD_TOO_LARGE),
        RefusalReason::MediaType => empty(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        // The rest of the body may still arrive. The server must not parse it as the next request, so the connection
        // closes. HTTP/2 has no `Connection` header.
        RefusalReason::Body if version <= Version::HTTP_11 => {
            with_header(StatusCode::REQUEST_TIMEOUT, CONNECTION, "close")
        }
        RefusalReason::Body => empty(StatusCode::REQUEST_TIMEOUT),
        // The same response for each of these reasons, so that an attacker cannot learn which check failed.
        RefusalReason::Signature | RefusalReason::Timestamp | RefusalReason::WrongJob => {
            empty(StatusCode::UNAUTHORIZED)
        }
        RefusalReason::Json => empty(StatusCode::BAD_REQUEST),
        RefusalReason::Overload => with_header(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
    }
}

fn with_header(status: StatusCode, name: http::HeaderName, value: &'static str) -> Response<Empty<Bytes>> {
    let mut response = empty(status);
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn empty(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
