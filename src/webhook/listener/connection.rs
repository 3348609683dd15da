use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::builder::ListenerLimits;
use super::handle::stopped;
use crate::webhook::WebhookReceiver;

/// How long a peer may take to let an answer be written, and to go away after it.
const FAREWELL: Duration = Duration::from_secs(1);

/// The longest header time-out that is given to hyper, which adds it to a time without asking whether it can.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

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
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout.min(LONGEST))
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
    let _ = timeout(FAREWELL, poll_fn(|cx| hang_up(&mut io, cx))).await;
}

/// Closes our side, then reads and forgets until the peer has closed its own: closing over bytes that nobody read resets the
/// connection, and an answer on its way would be lost with it.
fn hang_up<I: AsyncRead + AsyncWrite + Unpin>(io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
    // hyper has done so unless it met an error; a second time does nothing.
    let _ = ready!(Pin::new(&mut *io).poll_shutdown(cx));
    let mut scratch = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut scratch);
        match ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}
