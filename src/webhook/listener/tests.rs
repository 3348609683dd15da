use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::accept::{Accept, OVERLOADED, accept_loop};
use super::builder::Limits;
use super::connection::serve_connection;
use super::*;
use crate::error::Kind;
use crate::source::RefusalReason;
use crate::submission::{CallbackToken, KeepAlive};
use crate::webhook::{Secret, WebhookReceiver};
use crate::{JobId, JobState, Notifier};

mod paused;

const SECRET: &str = "It's a Secret to Everybody";
const EVENT: &str = r#"{"job_id":"7","state":"done"}"#;

/// A job that waits for events.
struct Waiting {
    notifier: Notifier,
    keep_alive: KeepAlive,
    token: CallbackToken,
}

impl Waiting {
    fn new() -> Self {
        let notifier = Notifier::new();
        let keep_alive = KeepAlive::existing_job(JobId::new("7").unwrap());
        let token = notifier.register(keep_alive.shared()).unwrap();
        Self { notifier, keep_alive, token }
    }

    fn receiver(&self) -> WebhookReceiver {
        WebhookReceiver::builder(self.notifier.clone()).secret(SECRET).max_body(1000).build().unwrap()
    }

    /// The head of a signed event but for the empty line.
    fn head(&self) -> String {
        let signature = Secret::new(SECRET).unwrap().sign(EVENT.as_bytes());
        format!("POST /{} HTTP/1.1\r\nhost: gateway\r\nx-foreman-signature: {signature}\r\n", self.token)
    }

    fn event(&self) -> String {
        format!("{}content-length: {}\r\n\r\n{EVENT}", self.head(), EVENT.len())
    }

    fn is_finished(&self) -> bool {
        self.keep_alive.submission().last_state() == Some(JobState::Done)
    }
}

async fn listen(builder: WebhookListenerBuilder) -> WebhookListener {
    builder.bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap()
}

/// Sends bytes and reads all that is answered, to the end of the connection.
async fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[track_caller]
fn assert_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "not {status}: {answer:?}");
}

// ===== real sockets, where no timer decides =====

#[tokio::test]
async fn an_event_reaches_the_job_that_waits() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let answer = ask(listener.local_addr(), job.event()).await;
    assert_status(&answer, 204);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(job.is_finished());
    listener.shutdown().await;
}

#[tokio::test]
async fn every_refusal_has_its_answer() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let (head, token) = (job.head(), job.token);
    let many: String = (0..33).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = "y".repeat(20_000);
    let unknown = "POST /00000000000000000000000000000000 HTTP/1.1\r\nhost: gateway\r\n";
    let body = "z".repeat(2000);
    for (what, request, status) in [
        ("a GET", format!("GET /{token} HTTP/1.1\r\nhost: gateway\r\n\r\n"), 405),
        ("a PUT that announces a body", format!("PUT /{token} HTTP/1.1\r\ncontent-length: 9\r\n\r\n"), 405),
        ("unknown token, body never sent", format!("{unknown}content-length: 900\r\n\r\n"), 404),
        ("unknown token, body announced in gigabytes", format!("{unknown}content-length: 9000000000\r\n\r\n"), 404),
        (
            "unknown token, body waits to be asked for",
            format!("{unknown}content-length: 9\r\nexpect: 100-continue\r\n\r\n"),
            404,
        ),
        ("unknown token, body sent nevertheless", format!("{unknown}content-length: 2000\r\n\r\n{body}"), 404),
        ("gzip", format!("{head}content-encoding: gzip\r\ncontent-length: 9\r\n\r\n"), 415),
        ("too large by its length", format!("{head}content-length: 1001\r\n\r\n"), 413),
        ("too large by its length, and sent", format!("{head}content-length: 2000\r\n\r\n{body}"), 413),
        ("too large in chunks", format!("{head}transfer-encoding: chunked\r\n\r\n7d0\r\n{body}\r\n"), 413),
        ("another body than the signed one", format!("{head}content-length: 2\r\n\r\n{{}}"), 401),
        ("no body", format!("{head}\r\n"), 401),
        ("no signature", format!("POST /{token} HTTP/1.1\r\ncontent-length: 2\r\n\r\n{{}}"), 401),
        ("two signatures", format!("{head}x-foreman-signature: a\r\ncontent-length: 2\r\n\r\n{{}}"), 401),
        ("too many headers", format!("{head}{many}\r\n"), 431),
        ("headers over the buffer", format!("{head}x: {long}\r\n\r\n"), 431),
        ("a path over the buffer", format!("POST /{long} HTTP/1.1\r\n\r\n"), 431),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
        ("two lengths", format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\n"), 400),
        ("chunks that are none", format!("{head}transfer-encoding: chunked\r\n\r\nxyz\r\n"), 408),
    ] {
        let answer = ask(listener.local_addr(), request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert!(!answer.contains("100 Continue") && answer.ends_with("\r\n\r\n"), "{what}: {answer:?}");
        assert_eq!(answer.contains("allow: POST\r\n"), status == 405, "{what}");
    }
    let stats = job.notifier.stats();
    for (why, times) in [
        (RefusalReason::Method, 2),
        (RefusalReason::UnknownToken, 4),
        (RefusalReason::MediaType, 1),
        (RefusalReason::TooLarge, 3),
        (RefusalReason::Signature, 4),
        (RefusalReason::Body, 1),
    ] {
        assert_eq!(stats.refused(why), times, "{why:?}");
    }
    assert!(!job.is_finished());
    assert_status(&ask(listener.local_addr(), job.event()).await, 204);
}

#[tokio::test]
async fn signed_garbage_is_a_400_and_the_event_of_another_job_a_401() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    for (body, status) in [("{", 400), (r#"{"job_id":"8","state":"done"}"#, 401)] {
        let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
        let (token, length) = (job.token, body.len());
        let head =
            format!("POST /{token} HTTP/1.1\r\nx-foreman-signature: {signature}\r\ncontent-length: {length}\r\n");
        assert_status(&ask(listener.local_addr(), format!("{head}\r\n{body}")).await, status);
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_does_not_cost_its_sender_the_answer() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let body = "z".repeat(2 << 20);
    let unknown = "POST /00000000000000000000000000000000 HTTP/1.1\r\n";
    for (head, status) in [(unknown, 404), (&job.head(), 413)] {
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        assert_status(&ask(listener.local_addr(), request).await, status);
    }
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    for preface in ["PRI * HTTP/2.0", "PRI * HTTP/2.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = ask(listener.local_addr(), preface).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{preface:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_connection_carries_one_request() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let answer = ask(listener.local_addr(), job.event().repeat(3)).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(job.notifier.stats().duplicates, 0);
}

#[tokio::test]
async fn connections_over_the_cap_are_told_so() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver()).max_connections(2)).await;
    let address = listener.local_addr();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    let answer = rest(&mut third).await;
    assert_eq!(answer.as_bytes(), OVERLOADED);
    assert_status(&answer, 503);
    assert!(answer.contains("retry-after: 1\r\n"));
    assert_eq!(job.notifier.stats().refused(RefusalReason::Overload), 1);

    // The place of one that is answered is free again.
    let mut first = silent.remove(0);
    first.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&rest(&mut first).await, 204);
    drop(first);
    loop {
        let answer = ask_if_taken(address, &job.event()).await;
        if answer.starts_with("HTTP/1.1 204 ") {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// Like `ask`, of a listener that may hang up before it has read.
async fn ask_if_taken(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_hundred_silent_peers_do_not_keep_an_honest_one_out() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let mut silent = Vec::new();
    for begin in ["", "P", "PRI * HTTP/2.0", "POST / HTTP/1.1\r\nhost"].into_iter().cycle().take(100) {
        let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_status(&ask(listener.local_addr(), job.event()).await, 204);
    assert!(job.is_finished());
}

#[tokio::test]
async fn a_shutdown_lets_the_request_in_flight_finish() {
    let job = Waiting::new();
    let listener = listen(WebhookListener::builder(job.receiver())).await;
    let address = listener.local_addr();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let head = format!("{}content-length: {}\r\nexpect: 100-continue\r\n\r\n", job.head(), EVENT.len());
    busy.write_all(head.as_bytes()).await.unwrap();
    // It is in flight once it asks for the body.
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let shutdown = tokio::spawn(async move { listener.shutdown().await });
    // The silent one is closed at once, by which it is known that the shutdown has begun.
    assert_eq!(rest(&mut silent).await, "");
    drop(silent);
    busy.write_all(EVENT.as_bytes()).await.unwrap();
    assert_status(&rest(&mut busy).await, 204);
    drop(busy);
    shutdown.await.unwrap();
    assert!(job.is_finished());
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn dropping_the_listener_stops_it() {
    let listener = listen(WebhookListener::builder(Waiting::new().receiver())).await;
    let address = listener.local_addr();
    let mut silent = TcpStream::connect(address).await.unwrap();
    drop(listener);
    // Closed or, if it was not accepted yet, reset.
    let _ = silent.read(&mut [0]).await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error_with_its_cause() {
    let listener = listen(WebhookListener::builder(Waiting::new().receiver())).await;
    let address = listener.local_addr();
    let error = WebhookListener::builder(Waiting::new().receiver()).bind(address).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Bind(at) if *at == address), "{error}");
    assert_eq!(error.to_string(), format!("cannot bind the webhook listener to {address}"));
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn limits_of_nothing_are_refused_by_name() {
    let builder = || WebhookListener::builder(WebhookReceiver::new(Notifier::new()));
    for (builder, field) in [
        (builder().header_timeout(Duration::ZERO), "header_timeout"),
        (builder().request_timeout(Duration::ZERO), "request_timeout"),
        (builder().max_headers(0), "max_headers"),
        (builder().max_buffer(8191), "max_buffer"),
        (builder().max_connections(0), "max_connections"),
    ] {
        let error = builder.bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {field}: ")), "{error}");
    }
    for builder in [
        builder().max_buffer(8192).drain_timeout(Duration::ZERO),
        builder().header_timeout(Duration::MAX).request_timeout(Duration::MAX).drain_timeout(Duration::MAX),
    ] {
        let listener = listen(builder).await;
        assert_status(&ask(listener.local_addr(), "GET / HTTP/1.1\r\n\r\n").await, 405);
        listener.shutdown().await;
    }
}
