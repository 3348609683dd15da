use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::Service;

use super::{Addresses, FailoverFuture};
use crate::BoxError;
use crate::api::HttpService;

/// An HTTP service over several addresses of one queue: the service of [`FailoverLayer`](super::FailoverLayer).
///
/// Clones share what is known of the addresses.
#[derive(Debug, Clone)]
pub struct Failover<T> {
    http: T,
    addresses: Arc<Addresses>,
}

impl<T> Failover<T> {
    pub(super) fn new(http: T, addresses: Arc<Addresses>) -> Self {
        Self { http, addresses }
    }
}

impl<T> Service<Request<Full<Bytes>>> for Failover<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
{
    type Response = T::Response;
    type Error = BoxError;
    type Future = FailoverFuture<T::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let next = self.http.clone();
        let ready = std::mem::replace(&mut self.http, next);
        FailoverFuture::send(ready, Arc::clone(&self.addresses), request)
    }
}
