use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use foreman_protocol::http1::{Place, Watched, deadline_timer, poll_deadline};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::ServerLimits;
use super::activity::{Activity, WatchedBody};
use crate::BoxError;

/// The buffer of a connection, in bytes. It is also the limit of a request's head.
const MAX_BUFFER: usize = 64 << 10;

/// What a connection may request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// It is one above the limit.
    Health,
}

/// An accepted connection.
pub(super) struct Connection<I> {
    pub(super) stream: I,
    pub(super) place: Place,
    pub(super) limits: ServerLimits,
    pub(super) scope: Scope,
}

impl Scope {
    fn allows(self, request: &Request<Incoming>) -> bool {
        self == Self::All || matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics")
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Nodelay> Connection<I> {
    /// Serves until the peer closes the connection, a time limit has passed, it has to make room, or the server stops.
    pub(super) async fn serve<S>(self, service: S, closing: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let Self { mut stream, place, limits, scope } = self;
        stream.set_nodelay();
        let activity = Activity::new(place, limits);
        let watched = Watched::new(&mut stream, Arc::clone(&activity));
        let reported = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            reported.request();
            let (activity, service) = (Arc::clone(&reported), service.clone());
            async move {
                let response = match scope.allows(&request) {
                    true => service.oneshot(request).await,
                    false => Ok(overloaded()),
                };
                response.map(|response| response.map(|body| WatchedBody::new(body, activity)))
            }
        });
        // Without a timer of hyper: the activity has the timeouts.
        let connection = hyper::server::conn::http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(watched), service);
        let mut connection = pin!(connection);
        let (mut evicted, mut stopped) = (pin!(activity.place().evicted()), pin!(closing.cancelled()));
        let mut timer = pin!(deadline_timer(&*activity));
        let mut closes = false;
        let served = poll_fn(|cx| {
            loop {
                if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                    return Poll::Ready(Some(served));
                }
                if closes {
                    break;
                }
                let is_evicted = evicted.as_mut().poll(cx).is_ready();
                if is_evicted && activity.can_make_room() {
                    return Poll::Ready(None);
                }
                if !is_evicted && stopped.as_mut().poll(cx).is_pending() {
                    break;
                }
                // The request that has begun gets its response.
                connection.as_mut().graceful_shutdown();
                closes = true;
            }
            poll_deadline(&*activity, timer.as_mut(), cx).map(|()| None)
        });
        match served.await {
            Some(Ok(())) => activity.place().lingering_close(stream).await,
            Some(Err(error)) => tracing::debug!(%error, "connection closed with an error"),
            None => {}
        }
    }
}

fn overloaded() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A stream, or a double of one in tests.
pub(super) trait Nodelay {
    /// Without it, responses are only slower.
    fn set_nodelay(&self);
}

impl Nodelay for tokio::net::TcpStream {
    fn set_nodelay(&self) {
        let _ = tokio::net::TcpStream::set_nodelay(self, true);
    }
}

#[cfg(test)]
impl Nodelay for tokio::io::DuplexStream {
    fn set_nodelay(&self) {}
}
