use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::Service;

use crate::BoxError;

/// An HTTP client as a tower service: an alias for these bounds, implemented for every type that meets them.
pub trait HttpService:
    Service<Request<Full<Bytes>>, Response = Response<Self::ResponseBody>, Error: Into<BoxError>>
{
    /// The body of its responses.
    type ResponseBody: Body<Error: Into<BoxError>>;
}

impl<T, B> HttpService for T
where
    T: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>>,
{
    type ResponseBody = B;
}
