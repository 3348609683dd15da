//! The HTTP server: HTTP/1.1, with time limits, a limit on connections, and graceful shutdown.
//!
//! It drives hyper directly. `axum::serve` has no header timeout, so a silent peer would hold its connection forever, and no
//! limit on connections. hyper-util's protocol detection waits for the HTTP/2 preface without a timeout.
//!
//! Peers cannot shut each other out. At the limit of connections, the one that has waited longest for a request makes room. One peer has at
//! most three quarters of the connections, and makes room for itself. A peer that does not read its responses is disconnected. If all
//! connections have requests, some more are accepted for health checks and metrics alone.

mod activity;
mod connection;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::response::Response;
use foreman_protocol::http1::{self, Places};
use http::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, Service};

use self::connection::{Connection, Scope};
use crate::BoxError;
use crate::peer::Peer;

/// The pause after `accept` has failed for want of resources, such as file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How many connections there may be above the limit, for health checks and metrics.
const RESERVED: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(super) struct ServerLimits {
    pub(super) connections: usize,
    /// Of one peer address.
    pub(super) connections_of_peer: usize,
    /// Also the idle timeout of a connection.
    pub(super) header_timeout: Duration,
    /// How long a peer may take to read something of its response.
    pub(super) write_timeout: Duration,
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
    let mut connections = JoinSet::new();
    let places = Arc::<Places>::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) if http1::is_connection_error(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                // Connections that close release descriptors and memory.
                let _ = places.evict(None);
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let peer = network(address);
        let Some(scope) = make_room(&mut connections, &places, peer, limits).await else {
            if let Err(error) = http1::refuse(stream) {
                tracing::debug!(%error, "cannot refuse a connection");
            }
            continue;
        };
        let service = Extension(Peer::at(address)).layer(service.clone());
        let connection = Connection { stream, place: places.place(Some(peer)), limits, scope };
        connections.spawn(connection.serve(service, closing.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The address that counts as one peer. A host usually has a /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => Ipv6Addr::from(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Evicts connections that wait for a request until there is room for one of `peer`. Returns what that may request. `None` if there is no
/// room.
async fn make_room(
    connections: &mut JoinSet<()>,
    places: &Places,
    peer: IpAddr,
    limits: ServerLimits,
) -> Option<Scope> {
    places.make_room(connections, Some(peer), |_| places.of_peer(peer) >= limits.connections_of_peer).await;
    places.make_room(connections, None, |connections| connections.len() >= limits.connections).await;
    let within = |reserve: (usize, usize)| {
        connections.len() < limits.connections.saturating_add(reserve.0)
            && places.of_peer(peer) < limits.connections_of_peer.saturating_add(reserve.1)
    };
    if within((0, 0)) {
        Some(Scope::All)
    // One peer does not take all of the reserve either.
    } else if within((RESERVED, RESERVED / 2)) {
        Some(Scope::Health)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
