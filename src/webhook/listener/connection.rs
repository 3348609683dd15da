use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use foreman_protocol::http1::{self, Place};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Watched};
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
    let watched = Watched { io: &mut io, activity: Arc::clone(&activity) };
    // Without a timer of hyper: the activity has the timeouts.
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_buf_size(limits.max_buffer);
    if limits.max_headers > MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut evicted = pin!(activity.evicted());
    let mut stopped = pin!(stopped(stop));
    let (mut closing, mut registered) = (false, None::<Waker>);
    let mut timer = pin!(sleep_until(activity.deadline().unwrap_or_else(far_future)));
    let served = poll_fn(|cx| {
        loop {
            // Before the stop, since the bytes of a request may be in the socket.
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(served));
            }
            // Once registered, the waker of the task stays so. Then it is enough to look at what has changed, which costs less for each
            // event than to poll two futures.
            let (stop_requested, is_evicted) = (!matches!(draining.has_changed(), Ok(false)), activity.is_evicted());
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
        poll_deadline(&activity, timer.as_mut(), cx).map(|()| None)
    });
    match served.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "webhook connection failed"),
        // There is no response that the peer could lose, or it does not read it.
        None => return,
    }
    // It makes room like one that waits for a request.
    let (mut linger, mut evicted) = (pin!(http1::lingering_close(io)), pin!(activity.evicted()));
    poll_fn(|cx| if evicted.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { linger.as_mut().poll(cx) }).await;
}

/// The deadline changes with each request. The timer is set anew only if it would fire too late, or has fired too early.
fn poll_deadline(
    activity: &Activity,
    mut timer: std::pin::Pin<&mut tokio::time::Sleep>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let deadline = activity.deadline().unwrap_or_else(far_future);
    if deadline < timer.deadline() {
        timer.as_mut().reset(deadline);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
    Poll::Pending
}

fn too_many_headers() -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response
}

/// For a timeout beyond the clock's range, which never elapses.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 60 * 60)
}
