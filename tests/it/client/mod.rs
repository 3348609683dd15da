//! `Client` on real sockets, mostly with the embedded daemon.

mod addresses;
mod end_to_end;
mod endpoints;
mod event_stream;
mod limits;
mod listener;
mod options;
mod sockets;
mod tls;
mod transport;

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// A list of models whose only model is named after the HTTP version of the request.
async fn version_as_model(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = format!("{:?}", request.version());
    Ok(Response::new(Full::from(format!(r#"{{"models":[{{"name":"{version}"}}]}}"#))))
}
