use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use foreman_protocol::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::builder::ListenerLimits;
use super::handle::stopped;
use crate::webhook::WebhookReceiver;

/// The time a peer has to read the response, after the request timeout.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves the one request of a connection.
pub(super) async fn serve_connection<I>(
    mut io: I,
    receiver: WebhookReceiver,
    limits: ListenerLimits,
    stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now().checked_add(limits.request_timeout);
    let draining = stop.clone();
    let service = service_fn(|request| receiver.receive(request, deadline, *draining.borrow()));
    let mut connection = pin!(
        http1::builder(limits.header_timeout)
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_buffer)
            .keep_alive(false)
            .serve_connection(TokioIo::new(&mut io), service)
    );
    let mut stopped = pin!(stopped(stop));
    let mut stopping = false;
    let served = poll_fn(|cx| {
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            // Closes the connection if no byte has arrived.
            connection.as_mut().graceful_shutdown();
            stopping = true;
        }
        connection.as_mut().poll(cx)
    });
    // The receiver responds with 408 at the deadline. This timeout is for a peer that does not read the response.
    match timeout(limits.request_timeout.saturating_add(RESPONSE_TIMEOUT), served).await {
        Ok(Ok(())) => {}
        // The header timeout. There is no response that the peer could lose.
        Ok(Err(error)) if error.is_timeout() => return,
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "webhook connection failed"),
        Err(_) => return,
    }
    http1::lingering_close(io).await;
}
