//! Serving, as `axum::serve` does, with what it leaves out: a time for the head of a request, a cap on connections, and a stop
//! that ends.

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
/// For the head of a request; also how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(30);
/// For the answers that are on their way when it stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// When the system has no resources for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `done`, and at most so much longer as the last answers take to be written.
pub(super) async fn serve(listener: TcpListener, router: Router, done: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while !done.is_cancelled() {
        let accepting = async {
            // Never closed, so there is always a place in the end.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        tokio::select! {
            () = done.cancelled() => {}
            (place, accepted) = accepting => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), done.clone());
                    connections.spawn(async move { (connection.await, place) });
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
    // Dropping the set closes what is left.
    let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: Router, done: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = done.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
