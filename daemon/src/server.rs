//! The HTTP server: HTTP/1.1 with a timeout for request heads, a limit on connections and graceful shutdown.
//!
//! It drives hyper directly. `axum::serve` has no header timeout, so a silent peer would hold its connection forever, and no
//! limit on connections. hyper-util's protocol detection waits for the HTTP/2 preface without a timeout.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use foreman_protocol::http1;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::BoxError;

/// The pause after `accept` has failed for want of resources, such as file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The upper bound of the header timeout. hyper adds the timeout to an instant without an overflow check.
const MAX_HEADER_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
pub(super) struct ServerLimits {
    pub(super) connections: usize,
    /// Also the idle timeout of a connection.
    pub(super) header_timeout: Duration,
}

/// Serves until `closing` is cancelled, then until the last open request has its response. Dropping the future closes all
/// connections at once.
///
/// An error of the service closes the connection without a response.
pub(super) async fn serve<S>(listener: TcpListener, service: S, limits: ServerLimits, closing: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(connection(stream, permit, service.clone(), limits.header_timeout, closing.clone()));
            }
            Err(error) if http1::is_connection_error(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Takes a permit before it accepts, so that connections over the limit wait in the operating system's backlog.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<S>(
    mut stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
    service: S,
    header_timeout: Duration,
    closing: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    // Without it, responses are only slower.
    let _ = stream.set_nodelay(true);
    let ended = {
        // Without a timer, hyper has no timeout for heads.
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout.min(MAX_HEADER_TIMEOUT))
            .serve_connection(TokioIo::new(&mut stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match ended {
        Ok(()) => http1::lingering_close(stream).await,
        Err(error) => tracing::debug!(%error, "connection closed with an error"),
    }
}
