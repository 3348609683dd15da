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

/// How long a peer may take to let an answer be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves the one request of a connection.
pub(super) async fn serve_connection<I>(
    mut io: I,
    receiver: WebhookReceiver,
    limits: ListenerLimits,
    stop: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let until = Instant::now().checked_add(limits.request_timeout);
    let service = service_fn(|request| receiver.receive(request, until));
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
            // Closes a connection that has not asked anything yet.
            connection.as_mut().graceful_shutdown();
            stopping = true;
        }
        connection.as_mut().poll(cx)
    });
    // The service answers 408 when the time is up; this is for a peer that does not take its answer.
    match timeout(limits.request_timeout.saturating_add(FAREWELL), served).await {
        Ok(Ok(())) => {}
        // It never asked, so there is no answer to lose.
        Ok(Err(error)) if error.is_timeout() => return,
        Ok(Err(error)) => tracing::debug!(%error, "a webhook connection broke"),
        Err(_) => return,
    }
    http1::lingering_close(io).await;
}
