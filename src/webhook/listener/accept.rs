use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foreman_protocol::http1::{self, Places, is_connection_error};
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

/// The initial and the maximum backoff after the system failed to accept a connection.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A source of connections: a socket, or a script in tests.
pub(super) trait Accept: Send + 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Io>>;

    /// Sends [`OVERLOADED`](http1::OVERLOADED) and closes the connection, without waiting.
    fn refuse(io: Self::Io);
}

impl Accept for TcpListener {
    type Io = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        TcpListener::poll_accept(self, cx).map_ok(|(stream, _)| {
            // Without it, responses are only slower.
            let _ = stream.set_nodelay(true);
            stream
        })
    }

    fn refuse(stream: TcpStream) {
        if let Err(error) = http1::refuse(stream) {
            tracing::debug!(error = &error as &dyn std::error::Error, "cannot refuse a webhook connection");
        }
    }
}

/// Accepts connections until the listener stops, then drains them.
pub(super) async fn accept_loop<A: Accept>(
    mut acceptor: A,
    receiver: WebhookReceiver,
    limits: ListenerLimits,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let places = Arc::<Places>::default();
    let mut stopped = pin!(stopped(stop.clone()));
    let mut backoff = BACKOFF.0;
    loop {
        let next = poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => acceptor.poll_accept(cx).map(Some),
        });
        let Some(accepted) = next.await else { break };
        while connections.try_join_next().is_some() {}
        if accepted.is_ok() {
            let is_full = |connections: &JoinSet<()>| connections.len() >= limits.max_connections;
            places.make_room(&mut connections, None, is_full).await;
        }
        match accepted {
            Ok(io) if connections.len() < limits.max_connections => {
                backoff = BACKOFF.0;
                connections.spawn(serve_connection(io, receiver.clone(), limits, places.place(None), stop.clone()));
            }
            Ok(io) => {
                A::refuse(io);
                receiver.record_refusal(RefusalReason::Overload);
            }
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                // The system is out of file descriptors or memory. Connections that close release them.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    ?backoff,
                    "failed to accept a webhook connection"
                );
                if timeout(backoff, stopped.as_mut()).await.is_ok() {
                    break;
                }
                backoff = backoff.saturating_mul(2).min(BACKOFF.1);
            }
        }
    }
    drop(acceptor);
    let drained = timeout(limits.drain_timeout, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!(connections = connections.len(), "drain timeout elapsed, aborting webhook connections");
        connections.shutdown().await;
    }
}
