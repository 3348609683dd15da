use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body_util::Empty;

use crate::source::RefusalReason;

/// What is answered to all that is authentic.
pub(super) fn accepted() -> Response<Empty<Bytes>> {
    empty(StatusCode::NO_CONTENT)
}

/// What is answered to a request that is refused.
pub(super) fn refused(why: RefusalReason, version: Version) -> Response<Empty<Bytes>> {
    match why {
        RefusalReason::Method => with(StatusCode::METHOD_NOT_ALLOWED, ALLOW, "POST"),
        RefusalReason::UnknownToken => empty(StatusCode::NOT_FOUND),
        RefusalReason::TooLarge => empty(StatusCode::PAYLOAD_TOO_LARGE),
        RefusalReason::MediaType => empty(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        // The rest of the body may come yet, and must not be taken for the next request. HTTP/2 has no such header.
        RefusalReason::Body if version <= Version::HTTP_11 => with(StatusCode::REQUEST_TIMEOUT, CONNECTION, "close"),
        RefusalReason::Body => empty(StatusCode::REQUEST_TIMEOUT),
        // One answer for all, so that a forger does not learn how far he came.
        RefusalReason::Signature | RefusalReason::Timestamp | RefusalReason::WrongJob => {
            empty(StatusCode::UNAUTHORIZED)
        }
        RefusalReason::Json => empty(StatusCode::BAD_REQUEST),
        RefusalReason::Overload => with(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
    }
}

fn with(status: StatusCode, name: http::HeaderName, value: &'static str) -> Response<Empty<Bytes>> {
    let mut response = empty(status);
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn empty(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
