//! Listening: HTTP/1.1 with a time-out on headers, a cap on connections and a stop that ends.
//!
//! hyper is driven directly. `axum::serve` has neither a timer, without which a silent peer is kept for ever, nor a cap;
//! hyper-util's automatic protocol choice waits for the HTTP/2 preface without a time-out.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use foreman_protocol::http1;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::faults::unless_lost;

/// How long nothing is accepted after the system said that it has no resources for it.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// Also how long a connection may be idle.
    pub(super) header_timeout: Duration,
}

/// Serves until `closing`, then until the last request is answered: who wants an end sooner drops it.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, closing: CancellationToken) {
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
                connections.spawn(connection(stream, permit, router.clone(), limits.header_timeout, closing.clone()));
            }
            Err(error) if http1::is_connection_error(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Over the cap, peers wait in the system's backlog.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(
    mut stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
    router: Router,
    header_timeout: Duration,
    closing: CancellationToken,
) {
    // Only latency depends on it.
    let _ = stream.set_nodelay(true);
    let service = ServiceExt::<http::Request<Incoming>>::map_result(router, unless_lost);
    let ended = {
        let connection = http1::builder(header_timeout)
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
        Err(error) => tracing::debug!(%error, "a connection broke off"),
    }
}
