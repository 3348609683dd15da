//! One connection, in memory and on paused time.

use std::convert::Infallible;

use axum::body::Body;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::service_fn;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: ServerLimits = ServerLimits {
    connections: 9,
    connections_of_peer: 9,
    header_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(10),
};
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

/// A connection whose responses have 10,000 bytes, through buffers of 1,000.
fn connection() -> (DuplexStream, Arc<Places>, JoinHandle<()>) {
    let (ours, theirs) = duplex(1_000);
    let places = Arc::<Places>::default();
    let connection = Connection { stream: ours, place: places.place(None), limits: LIMITS, scope: Scope::All };
    let service =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Body::from([7; 10_000].as_slice()))));
    (theirs, places, tokio::spawn(connection.serve(service, CancellationToken::new())))
}

#[tokio::test(start_paused = true)]
async fn peer_that_never_reads_is_disconnected() {
    let (mut peer, _places, served) = connection();
    let start = Instant::now();
    // As many as the buffers take.
    let pipelined = async { while peer.write_all(REQUEST).await.is_ok() {} };
    let (_, served) = tokio::join!(pipelined, served);
    served.unwrap();
    assert_eq!(start.elapsed(), LIMITS.write_timeout);
}

#[tokio::test(start_paused = true)]
async fn peer_that_reads_slowly_is_served() {
    let (mut peer, _places, served) = connection();
    peer.write_all(REQUEST).await.unwrap();
    let mut read = 0;
    while read < 10_000 {
        tokio::time::advance(9 * SECOND).await;
        let mut part = [0; 500];
        read += peer.read(&mut part).await.unwrap();
        assert!(!served.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn silent_and_idle_peers_are_disconnected() {
    let (mut peer, _places, served) = connection();
    let start = Instant::now();
    peer.write_all(b"GET / HT").await.unwrap();
    served.await.unwrap();
    assert_eq!(start.elapsed(), LIMITS.header_timeout);

    let (mut peer, _places, served) = connection();
    tokio::time::advance(20 * SECOND).await;
    peer.write_all(REQUEST).await.unwrap();
    let start = Instant::now();
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.unwrap();
    served.await.unwrap();
    assert!(all.ends_with(&[7; 10_000]) && start.elapsed() >= LIMITS.header_timeout, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn eviction_waits_for_the_response() {
    let (mut peer, places, served) = connection();
    peer.write_all(REQUEST).await.unwrap();
    let mut first = [0; 100];
    peer.read_exact(&mut first).await.unwrap();
    // Its response is being written.
    assert!(!places.evict(None));
    let mut rest = vec![0; 9_000];
    peer.read_exact(&mut rest).await.unwrap();
    while !places.evict(None) {
        let mut part = [0; 100];
        assert_ne!(peer.read(&mut part).await.unwrap(), 0);
    }
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connection_that_lingers_makes_room() {
    let (mut peer, places, served) = connection();
    peer.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    let start = Instant::now();
    assert!(places.evict(None));
    served.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Peers with several addresses hold all connections without a token, if such connections do not make room.
#[tokio::test(start_paused = true)]
async fn peer_that_reads_nothing_makes_room() {
    let (mut peer, places, served) = connection();
    peer.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    let start = Instant::now();
    assert!(places.evict(None));
    served.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
