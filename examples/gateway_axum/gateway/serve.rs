//! A replacement for `axum::serve` with a timeout for the head of a request, a limit of
//! connections, and a bounded shutdown.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const CONNECTIONS: usize = 4_096;
/// The time limit for the head of a request, and for idle connections.
const HEADERS: Duration = Duration::from_secs(30);
/// How long a shutdown waits for the last responses.
const FLUSH: Duration = Duration::from_secs(2);
/// The pause after a failure to accept, such as that of a system without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `done`, and then up to [`FLUSH`] for the last responses.
pub(super) async fn serve(listener: TcpListener, router: Router, done: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while !done.is_cancelled() {
        let accepting = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = done.cancelled() => {}
            (permit, accepted) = accepting => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), done.clone());
                    connections.spawn(async move { (connection.await, permit) });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    // Dropping the set closes the remaining connections.
    let _ = timeout(FLUSH, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: Router, done: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = done.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection error");
    }
}
