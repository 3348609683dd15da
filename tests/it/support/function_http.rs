use std::future::pending;
use std::io;

use bytes::Bytes;
use foreman_client::BoxError;
use http::{Request, Response};
use http_body_util::Full;
use tower::service_fn;
use tower::util::BoxCloneService;

/// An HTTP client whose daemon is a function.
pub(crate) type FunctionHttp = BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// How one HTTP exchange ends.
pub(crate) enum Exchange {
    Response(Response<Full<Bytes>>),
    Fail(io::Error),
    NoResponse,
}

impl Exchange {
    pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Self::Response(response.body(Full::new(body.into())).unwrap())
    }
}

/// An HTTP client that completes each request as `daemon` returns.
pub(crate) fn function_http(
    daemon: impl Fn(&Request<Full<Bytes>>) -> Exchange + Clone + Send + 'static,
) -> FunctionHttp {
    FunctionHttp::new(service_fn(move |request| {
        let exchange = daemon(&request);
        async move {
            match exchange {
                Exchange::Response(response) => Ok(response),
                Exchange::Fail(error) => Err(error.into()),
                Exchange::NoResponse => pending().await,
            }
        }
    }))
}
