//! Peers that hold connections, and those that they would shut out.

use std::net::SocketAddr;

use foreman_daemon::{Builder, Daemon};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::gate::Gate;
use super::raw::{delete, get, post, read, request, send, submit};
use crate::eventually::bounded;

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.local_addr()).await.unwrap()
}

/// Waits until the daemon has closed a connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = bounded(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

/// Sends a submission without the end of its body, and waits until the daemon has read its head.
async fn half_submission(daemon: &Daemon) -> TcpStream {
    let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\
                Expect: 100-continue\r\n\r\n";
    let mut stream = send(daemon.local_addr(), head).await;
    let mut response = [0; 25];
    bounded(stream.read_exact(&mut response)).await.unwrap();
    assert_eq!(&response, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

fn limited(connections: usize) -> Builder {
    Daemon::builder().max_connections(connections).max_connections_per_peer(connections)
}

#[tokio::test]
async fn connection_that_waits_longest_makes_room() {
    let daemon = limited(2).start().await.unwrap();
    let mut first = connect(&daemon).await;
    first.write_all(b"GET /jobs HT").await.unwrap();
    let second = connect(&daemon).await;
    assert_eq!(bounded(get(&daemon, "/healthz", &[])).await.status, 200);
    closed(first).await;
    let _third = connect(&daemon).await;
    assert_eq!(bounded(get(&daemon, "/healthz", &[])).await.status, 200);
    closed(second).await;
}

#[tokio::test]
async fn idle_connection_makes_room() {
    let daemon = limited(1).start().await.unwrap();
    let mut idle = connect(&daemon).await;
    idle.write_all(b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"]}") {
        assert_ne!(bounded(idle.read_buf(&mut response)).await.unwrap(), 0);
    }
    assert_eq!(bounded(get(&daemon, "/nowhere", &[])).await.status, 404);
    closed(idle).await;
}

#[tokio::test]
async fn health_has_places_when_all_connections_have_requests() {
    let daemon = limited(2).start().await.unwrap();
    let busy = [half_submission(&daemon).await, half_submission(&daemon).await];
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(bounded(get(&daemon, path, &[])).await.status, 200, "{path}");
    }
    let refused = bounded(get(&daemon, "/jobs", &[])).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    drop(busy);
    let served = async { while get(&daemon, "/jobs", &[]).await.status != 200 {} };
    bounded(served).await;
}

#[tokio::test]
async fn silent_peers_do_not_take_the_reserve() {
    let daemon = limited(1).start().await.unwrap();
    let _busy = half_submission(&daemon).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(&daemon).await);
    }
    assert_eq!(bounded(get(&daemon, "/healthz", &[])).await.status, 200);
}

#[tokio::test]
async fn peer_makes_room_for_itself() {
    let daemon = Daemon::builder().max_connections(10).max_connections_per_peer(2).start().await.unwrap();
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(daemon.local_addr()).await.unwrap()
    };
    let other = from("127.0.0.2").await;
    let first = connect(&daemon).await;
    let _busy = half_submission(&daemon).await;
    let _also_busy = half_submission(&daemon).await;
    closed(first).await;
    let refused = bounded(get(&daemon, "/jobs", &[])).await;
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    let mut other = other;
    other.write_all(request("GET", "/jobs", &["Connection: close"], "").as_bytes()).await.unwrap();
    assert_eq!(bounded(read(other)).await.status, 200);
}

#[tokio::test]
async fn long_polls_do_not_take_the_last_connections() {
    let (gate, backend) = Gate::new();
    let daemon = limited(8).backend(backend).start().await.unwrap();
    let id = submit(&daemon, "go").await;
    gate.begun().await;
    let (path, wait) = (format!("/jobs/{id}"), ["Prefer: wait=60", "Connection: close"]);
    let mut held = Vec::new();
    let at_once = loop {
        assert!(held.len() <= 3);
        let poll = send(daemon.local_addr(), request("GET", &path, &wait, "")).await;
        let mut first = [0; 1];
        // One that is held has no response until the job ends.
        tokio::select! {
            _ = poll.peek(&mut first) => break poll,
            () = async { for _ in 0..1_000 { get(&daemon, "/healthz", &[]).await; } }, if held.len() < 3 => held.push(poll),
        }
    };
    let at_once = bounded(read(at_once)).await;
    assert_eq!((at_once.json()["state"].as_str(), at_once.header("preference-applied")), (Some("running"), None));
    assert_eq!(held.len(), 3);
    gate.open(1);
    for poll in held {
        assert_eq!(bounded(read(poll)).await.json()["state"], "done");
    }
    delete(&daemon, &path).await;
}

#[tokio::test]
async fn bodies_share_a_budget() {
    let daemon = Daemon::builder().body_limit(1_000).body_budget(3_000).start().await.unwrap();
    let chunk = |bytes: usize| format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
    let head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = send(daemon.local_addr(), format!("{head}{}", chunk(800))).await;
    let refused = async {
        loop {
            let other = send(daemon.local_addr(), format!("{head}{}", chunk(800))).await;
            // Until the daemon has read the first one.
            let mut first = [0; 1];
            tokio::select! {
                _ = other.peek(&mut first) => break read(other).await,
                _ = get(&daemon, "/healthz", &[]) => {}
            }
        }
    };
    let refused = bounded(refused).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.refused(503), "too many bytes in the bodies of other requests");
    let small = json!({ "model": "m" }).to_string();
    assert_eq!(post(&daemon, "/jobs", &[], &small).await.status, 202);
    drop(endless);
    let large = json!({ "model": "m", "messages": [{ "content": "x".repeat(900) }] }).to_string();
    let taken = async { while post(&daemon, "/jobs", &[], &large).await.status != 202 {} };
    bounded(taken).await;
}
