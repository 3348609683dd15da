use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use foreman_protocol::http1::{Place, Watched, deadline_timer, poll_deadline};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::activity::Activity;
use super::builder::ListenerLimits;
use super::handle::stopped;
use crate::webhook::WebhookReceiver;

/// The time a peer has to read the response, after the request timeout.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// hyper's own limit. With another one, hyper allocates the list of headers for each request, so a lower one is checked by the service.
const MAX_HEADERS: usize = 100;

/// Serves a connection until the peer closes it, a timeout elapses, a request is refused, or the listener stops.
pub(super) async fn serve_connection<I>(
    mut io: I,
    receiver: WebhookReceiver,
    limits: ListenerLimits,
    place: Place,
    stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::new(place, limits);
    let draining = stop.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (activity, deadline) = (&activity, activity.request());
        let response = (request.headers().len() <= limits.max_headers)
            .then(|| receiver.receive(request, deadline, *draining.borrow()));
        async move {
            let mut response = match response {
                Some(response) => response.await,
                None => Ok(too_many_headers()),
            };
            if let Ok(response) = &mut response
                && response.status() != StatusCode::NO_CONTENT
            {
                // Whoever is refused has to connect again.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            activity.response();
            response
        }
    });
    let watched = Watched::new(&mut io, Arc::clone(&activity));
    // Without a timer of hyper: the activity has the timeouts.
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(limits.max_buffer);
    if limits.max_headers > MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut evicted = pin!(activity.place().evicted());
    let mut stopped = pin!(stopped(stop));
    let (mut closing, mut registered) = (false, None::<Waker>);
    let mut timer = pin!(deadline_timer(&*activity));
    let served = poll_fn(|cx| {
        loop {
            // Before the stop, since the bytes of a request may be in the socket.
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(served));
            }
            // Both futures keep the waker that they were polled with. Looking at what they wait for costs less for each event than
            // polling them.
            let (stop_requested, is_evicted) =
                (!matches!(draining.has_changed(), Ok(false)), activity.place().is_evicted());
            if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                registered = Some(cx.waker().clone());
                let stops = !stop_requested && stopped.as_mut().poll(cx).is_ready();
                if stops || (!is_evicted && evicted.as_mut().poll(cx).is_ready()) {
                    continue;
                }
            }
            if is_evicted && !closing && !activity.has_request() {
                return Poll::Ready(None);
            }
            // After a stop, a request that has begun is completed. So is one whose head was complete at the moment of the eviction.
            let closes = is_evicted || (stop_requested && !activity.is_reading_head());
            if closing || !closes {
                break;
            }
            connection.as_mut().graceful_shutdown();
            closing = true;
        }
        poll_deadline(&*activity, timer.as_mut(), cx).map(|()| None)
    });
    match served.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "webhook connection failed"),
        // There is no response that the peer could lose, or it does not read it.
        None => return,
    }
    activity.place().lingering_close(io).await;
}

fn too_many_headers() -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}
