use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use foreman_protocol::http1::is_connection_error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::builder::ListenerLimits;
use super::connection::serve_connection;
use super::handle::stopped;
use crate::source::RefusalReason;
use crate::webhook::WebhookReceiver;

/// What a connection over the cap is answered, whatever it asks.
pub(super) const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The first and the longest pause after the system had no connection to give.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Where connections come from: a socket, or a test's script.
pub(super) trait Accept: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Io>>;

    /// Says no and closes, at once.
    fn refuse(io: Self::Io);
}

impl Accept for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, _)| stream)
    }

    fn refuse(stream: TcpStream) {
        // Tokio would have to be told by the system first that the socket takes bytes. It does, being new, and is non-blocking.
        let Ok(mut stream) = stream.into_std() else { return };
        let _ = stream.write(OVERLOADED);
        let _ = stream.shutdown(Shutdown::Write);
        // Closing over bytes that nobody read resets the connection, and the answer would be lost with it.
        let _ = stream.read(&mut [0; 4096]);
    }
}

/// Accepts until it is stopped, then drains.
pub(super) async fn accept_loop<A: Accept>(
    mut acceptor: A,
    receiver: WebhookReceiver,
    limits: ListenerLimits,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopped = pin!(stopped(stop.clone()));
    let mut pause = PAUSE.0;
    loop {
        let next = poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => acceptor.poll_accept(cx).map(Some),
        });
        let Some(accepted) = next.await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(io) if connections.len() < limits.max_connections => {
                pause = PAUSE.0;
                connections.spawn(serve_connection(io, receiver.clone(), limits, stop.clone()));
            }
            Ok(io) => {
                A::refuse(io);
                receiver.record_refusal(RefusalReason::Overload);
            }
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory, which the end of other connections gives back.
                tracing::warn!(%error, ?pause, "cannot accept webhook connections");
                if timeout(pause, stopped.as_mut()).await.is_ok() {
                    break;
                }
                pause = pause.saturating_mul(2).min(PAUSE.1);
            }
        }
    }
    drop(acceptor);
    let drained = timeout(limits.drain_timeout, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!(left = connections.len(), "aborting webhook connections");
        connections.shutdown().await;
    }
}
