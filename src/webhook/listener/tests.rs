use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foreman_protocol::http1::{OVERLOADED, Places};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::{Accept, accept_loop};
use super::builder::ListenerLimits;
use super::connection::serve_connection;
use super::*;
use crate::error::Kind;
use crate::source::RefusalReason;
use crate::submission::KeepAlive;
use crate::webhook::{Secret, WebhookReceiver};
use crate::{JobId, JobState, Notifier};

mod paused;

const SECRET: &str = "It's a Secret to Everybody";
const EVENT: &str = r#"{"job_id":"7","state":"done"}"#;

/// A job that is registered with a notifier of its own.
struct RegisteredJob {
    notifier: Notifier,
    keep_alive: KeepAlive,
    token: String,
}

impl RegisteredJob {
    fn new() -> Self {
        let notifier = Notifier::new();
        let keep_alive = KeepAlive::existing_job(JobId::new("7").unwrap());
        let url = notifier.callback_url("", notifier.register(keep_alive.shared(), None).unwrap()).unwrap();
        let token = url[1..].to_owned();
        Self { notifier, keep_alive, token }
    }

    fn receiver(&self) -> WebhookReceiver {
        WebhookReceiver::builder(self.notifier.clone()).secret(SECRET).max_body(1000).build().unwrap()
    }

    /// The request line and headers of a signed event, without the final empty line.
    fn head(&self) -> String {
        let signature = Secret::new(SECRET).unwrap().sign(EVENT.as_bytes());
        format!("POST /{} HTTP/1.1\r\nhost: gateway\r\nx-foreman-signature: {signature}\r\n", self.token)
    }

    /// The last event on its connection.
    fn event(&self) -> String {
        format!("{}connection: close\r\ncontent-length: {}\r\n\r\n{EVENT}", self.head(), EVENT.len())
    }

    /// An event on a connection that stays open.
    fn persistent_event(&self) -> String {
        format!("{}content-length: {}\r\n\r\n{EVENT}", self.head(), EVENT.len())
    }

    fn is_finished(&self) -> bool {
        self.keep_alive.submission().last_state() == Some(JobState::Done)
    }
}

async fn listen(builder: WebhookListenerBuilder) -> WebhookListener {
    builder.bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap()
}

/// Sends `bytes` on a new connection and returns everything received until the peer closes it.
async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[track_caller]
fn assert_status(response: &str, status: u16) {
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "not {status}: {response:?}");
}

// ===== Tests on real sockets, which do not depend on timers =====

#[tokio::test]
async fn signed_event_finishes_job() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let response = send(listener.local_addr(), job.event()).await;
    assert_status(&response, 204);
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert!(job.is_finished());
    listener.shutdown().await;
}

#[tokio::test]
async fn refusals_have_their_status() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let (head, token) = (job.head(), job.token.clone());
    let many: String = (0..33).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(20_000);
    let unknown = "POST /00000000000000000000000000000000 HTTP/1.1\r\nhost: gateway\r\n";
    let body = "z".repeat(2000);
    for (case, request, status) in [
        ("a GET", format!("GET /{token} HTTP/1.1\r\nhost: gateway\r\n\r\n"), 405),
        ("a PUT with a content-length", format!("PUT /{token} HTTP/1.1\r\ncontent-length: 9\r\n\r\n"), 405),
        ("unknown token, body never sent", format!("{unknown}content-length: 900\r\n\r\n"), 404),
        ("unknown token, content-length of gigabytes", format!("{unknown}content-length: 9000000000\r\n\r\n"), 404),
        (
            "unknown token, expect: 100-continue",
            format!("{unknown}content-length: 9\r\nexpect: 100-continue\r\n\r\n"),
            404,
        ),
        ("unknown token, body sent", format!("{unknown}content-length: 2000\r\n\r\n{body}"), 404),
        ("gzip", format!("{head}content-encoding: gzip\r\ncontent-length: 9\r\n\r\n"), 415),
        ("content-length over the limit", format!("{head}content-length: 1001\r\n\r\n"), 413),
        ("content-length over the limit, body sent", format!("{head}content-length: 2000\r\n\r\n{body}"), 413),
        ("chunked body over the limit", format!("{head}transfer-encoding: chunked\r\n\r\n7d0\r\n{body}\r\n"), 413),
        ("body not the signed one", format!("{head}content-length: 2\r\n\r\n{{}}"), 401),
        ("no body", format!("{head}\r\n"), 401),
        ("no signature", format!("POST /{token} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}"), 401),
        ("two signatures", format!("{head}x-foreman-signature: a\r\ncontent-length: 2\r\n\r\n{{}}"), 401),
        ("too many headers", format!("{head}{many}\r\n"), 431),
        ("headers larger than the buffer", format!("{head}x: {long}\r\n\r\n"), 431),
        ("path larger than the buffer", format!("POST /{long} HTTP/1.1\r\n\r\n"), 431),
        ("not HTTP", "hello\r\n\r\n".to_owned(), 400),
        ("two content-lengths", format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n"), 400),
        ("invalid chunk size", format!("{head}transfer-encoding: chunked\r\n\r\nxyz\r\n"), 408),
    ] {
        let response = send(listener.local_addr(), request).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {response:?}");
        assert!(!response.contains("100 Continue") && response.ends_with("\r\n\r\n"), "{case}: {response:?}");
        assert_eq!(response.contains("allow: POST\r\n"), status == 405, "{case}");
    }
    let stats = job.notifier.stats();
    for (reason, count) in [
        (RefusalReason::Method, 2),
        (RefusalReason::UnknownToken, 4),
        (RefusalReason::MediaType, 1),
        (RefusalReason::TooLarge, 3),
        (RefusalReason::Signature, 4),
        (RefusalReason::Body, 1),
    ] {
        assert_eq!(stats.refused(reason), count, "{reason:?}");
    }
    assert!(!job.is_finished());
    assert_status(&send(listener.local_addr(), job.event()).await, 204);
}

#[tokio::test]
async fn signed_invalid_json_is_400_and_wrong_job_401() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    for (body, status) in [("{", 400), (r#"{"job_id":"8","state":"done"}"#, 401)] {
        let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
        let (token, length) = (job.token.clone(), body.len());
        let head =
            format!("POST /{token} HTTP/1.1\r\nx-foreman-signature: {signature}\r\ncontent-length: {length}\r\n");
        assert_status(&send(listener.local_addr(), format!("{head}\r\n{body}")).await, status);
    }
}

#[tokio::test]
async fn unread_body_does_not_lose_response() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let body = "z".repeat(2 << 20);
    let unknown = "POST /00000000000000000000000000000000 HTTP/1.1\r\n";
    for (head, status) in [(unknown, 404), (&job.head(), 413)] {
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        assert_status(&send(listener.local_addr(), request).await, status);
    }
}

#[tokio::test]
async fn http2_preface_is_refused() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    for preface in ["PRI * HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let response = send(listener.local_addr(), preface).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{preface:?}: {response:?}");
    }
}

#[tokio::test]
async fn connection_serves_further_events() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(job.persistent_event().as_bytes()).await.unwrap();
        assert_status(&read_head(&mut stream).await, 204);
    }
    assert_eq!(job.notifier.stats().duplicates, 2);
    // All in one segment.
    stream.write_all((job.persistent_event().repeat(3) + &job.event()).as_bytes()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.matches("HTTP/1.1 204 ").count(), 4);
    assert_eq!(job.notifier.stats().duplicates, 6);
}

/// Reads the head of a response without a body.
async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn refused_request_closes_connection() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let forged = format!("POST /{} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}", job.token);
    let response = send(listener.local_addr(), forged + &job.persistent_event()).await;
    assert_status(&response, 401);
    assert!(response.contains("connection: close\r\n") && response.matches("HTTP/1.1 ").count() == 1, "{response}");
    assert!(!job.is_finished());
}

/// Sends the headers of an event, and returns when the receiver reads its body.
async fn begin_event(job: &RegisteredJob, address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = EVENT.len();
    let head = format!("{}connection: close\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n", job.head());
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn connection_over_limit_gets_503_while_all_have_a_request() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver()).max_connections(2)).await;
    let address = listener.local_addr();
    let mut busy = [begin_event(&job, address).await, begin_event(&job, address).await];
    let mut third = TcpStream::connect(address).await.unwrap();
    let response = read_to_end(&mut third).await;
    assert_eq!(response.as_bytes(), OVERLOADED);
    assert_status(&response, 503);
    assert!(response.contains("retry-after: 1\r\n"));
    assert_eq!(job.notifier.stats().refused(RefusalReason::Overload), 1);

    // None of them was closed, and a completed request frees its place.
    for stream in &mut busy {
        stream.write_all(EVENT.as_bytes()).await.unwrap();
        assert_status(&read_to_end(stream).await, 204);
    }
    drop(busy);
    loop {
        let response = send_or_refused(address, &job.event()).await;
        if response.starts_with("HTTP/1.1 204 ") {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connection_that_waited_longest_makes_room() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver()).max_connections(3)).await;
    let address = listener.local_addr();
    let mut persistent = TcpStream::connect(address).await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    // It waits since its event, and so for a shorter time than the silent one.
    persistent.write_all(job.persistent_event().as_bytes()).await.unwrap();
    assert_status(&read_head(&mut persistent).await, 204);
    let mut busy = begin_event(&job, address).await;

    assert_status(&send(address, job.event()).await, 204);
    assert_eq!(read_to_end(&mut silent).await, "");
    persistent.write_all(job.persistent_event().as_bytes()).await.unwrap();
    assert_status(&read_head(&mut persistent).await, 204);
    // 5,000 peers that send nothing shut nobody out.
    let mut peers = Vec::new();
    for _ in 0..5_000 {
        peers.push(TcpStream::connect(address).await.unwrap());
        if peers.len() > 200 {
            peers.remove(0);
        }
    }
    assert_status(&send(address, job.event()).await, 204);
    busy.write_all(EVENT.as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut busy).await, 204);
    assert_eq!(job.notifier.stats().refused(RefusalReason::Overload), 0);
}

/// Like `send`, but the listener may close the connection before it has read the request.
async fn send_or_refused(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut response = Vec::new();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8(response).unwrap()
}

#[tokio::test]
async fn silent_connections_do_not_block_event() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let mut silent = Vec::new();
    for bytes in ["", "P", "PRI * HTTP/2.0", "POST / HTTP/1.1\r\nhost"].into_iter().cycle().take(100) {
        let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_status(&send(listener.local_addr(), job.event()).await, 204);
    assert!(job.is_finished());
}

#[tokio::test]
async fn shutdown_drains_request_in_flight() {
    let job = RegisteredJob::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let address = listener.local_addr();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(job.persistent_event().as_bytes()).await.unwrap();
    assert_status(&read_head(&mut idle).await, 204);
    let mut busy = begin_event(&job, address).await;

    let shutdown = tokio::spawn(async move { listener.shutdown().await });
    // The shutdown has started once the silent connection is closed.
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(read_to_end(&mut idle).await, "");
    drop((silent, idle));
    busy.write_all(EVENT.as_bytes()).await.unwrap();
    assert_status(&read_to_end(&mut busy).await, 204);
    drop(busy);
    shutdown.await.unwrap();
    assert!(job.is_finished());
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn drop_stops_listener() {
    let listener = listen(WebhookListener::builder(RegisteredJob::new().receiver())).await;
    let address = listener.local_addr();
    let mut silent = TcpStream::connect(address).await.unwrap();
    drop(listener);
    // The connection is closed or, if it was not accepted yet, reset.
    let _ = silent.read(&mut [0]).await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn address_in_use_is_error_with_source() {
    let listener = listen(WebhookListener::builder(RegisteredJob::new().receiver())).await;
    let address = listener.local_addr();
    let error = WebhookListener::builder(RegisteredJob::new().receiver()).bind(address).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Bind(at) if *at == address), "{error}");
    assert_eq!(error.to_string(), format!("cannot bind the webhook listener to {address}"));
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn invalid_limits_are_named() {
    let builder = || WebhookListener::builder(WebhookReceiver::new(Notifier::new()));
    for (builder, field) in [
        (builder().header_timeout(Duration::ZERO), "header_timeout"),
        (builder().request_timeout(Duration::ZERO), "request_timeout"),
        (builder().idle_timeout(Duration::ZERO), "idle_timeout"),
        (builder().max_headers(0), "max_headers"),
        (builder().max_buffer(8191), "max_buffer"),
        (builder().max_connections(0), "max_connections"),
    ] {
        let error = builder.bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {field}: ")), "{error}");
    }
    for builder in [
        builder().max_buffer(8192).drain_timeout(Duration::ZERO),
        builder()
            .header_timeout(Duration::MAX)
            .request_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .drain_timeout(Duration::MAX),
    ] {
        let listener = listen(builder).await;
        assert_status(&send(listener.local_addr(), "GET / HTTP/1.1\r\n\r\n").await, 405);
        listener.shutdown().await;
    }
}
