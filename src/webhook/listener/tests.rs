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
use crate::source::Refusal;
use crate::submission::{Hold, Token};
use crate::webhook::{Secret, WebhookReceiver};
use crate::{JobId, JobState, Notifier};

const SECRET: &str = "It's a Secret to Everybody";
const EVENT: &str = r#"{"job_id":"7","state":"done"}"#;

/// A job that waits for events.
struct Waiting {
    notifier: Notifier,
    hold: Hold,
    token: Token,
}

impl Waiting {
    fn new() -> Self {
        let notifier = Notifier::new();
        let hold = Hold::attached(JobId::new("7").unwrap());
        let token = notifier.register(hold.cell()).unwrap();
        Self { notifier, hold, token }
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
        self.hold.cell().last_state() == Some(JobState::Done)
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
        (Refusal::Method, 2),
        (Refusal::UnknownToken, 4),
        (Refusal::MediaType, 1),
        (Refusal::TooLarge, 3),
        (Refusal::Signature, 4),
        (Refusal::Body, 1),
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
    assert_eq!(job.notifier.stats().refused(Refusal::Overload), 1);

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
    assert_eq!(error.to_string(), format!("cannot listen for webhooks on {address}"));
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

// ===== a pipe and paused time, where timers decide =====

/// A connection that is served, and what stops it.
fn connect(job: &Waiting, buffer: usize) -> (DuplexStream, JoinHandle<()>, watch::Sender<bool>) {
    let (ours, theirs) = duplex(buffer);
    let (stop, stopping) = watch::channel(false);
    (ours, tokio::spawn(serve_connection(theirs, job.receiver(), Limits::default(), stopping)), stop)
}

#[tokio::test(start_paused = true)]
async fn headers_that_do_not_come_end_the_connection() {
    for begin in ["", "P", "PRI * HT", "POST / HTTP/1.1", "POST / HTTP/1.1\r\nhost: gateway\r\n"] {
        let job = Waiting::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        peer.write_all(begin.as_bytes()).await.unwrap();
        // Sooner than a whole request may take, by the paused clock.
        let closed = tokio::time::timeout(Duration::from_secs(9), rest(&mut peer)).await;
        assert_eq!(closed.unwrap(), "", "{begin}");
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_byte_a_second_end_the_connection() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    for byte in job.event().into_bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            served.await.unwrap();
            assert!(!job.is_finished());
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("a head that took minutes was read");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    for body in ["", "{"] {
        let job = Waiting::new();
        let (mut peer, served, _stop) = connect(&job, 4096);
        let head = format!("{}content-length: {}\r\n\r\n{body}", job.head(), EVENT.len());
        peer.write_all(head.as_bytes()).await.unwrap();
        let answer = rest(&mut peer).await;
        assert_status(&answer, 408);
        assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
        assert_eq!(job.notifier.stats().refused(Refusal::Body), 1);
        drop(peer);
        served.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_byte_a_second_is_a_408() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    for byte in EVENT.bytes() {
        if peer.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_status(&rest(&mut peer).await, 408);
    served.await.unwrap();
    assert!(!job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_delivers_nothing() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    let head = format!("{}content-length: {}\r\n\r\n{{", job.head(), EVENT.len());
    peer.write_all(head.as_bytes()).await.unwrap();
    drop(peer);
    served.await.unwrap();
    assert_eq!((job.notifier.stats().refused(Refusal::Body), job.is_finished()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_take_its_answer_is_cut_off() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 16);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert!(job.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_hang_up_is_cut_off() {
    let job = Waiting::new();
    let (mut peer, served, _stop) = connect(&job, 4096);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    served.await.unwrap();
    assert_status(&rest(&mut peer).await, 204);
}

/// A source of connections that does as it is told.
struct Script(VecDeque<io::Result<DuplexStream>>);

impl Accept for Script {
    type Io = DuplexStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        // Nothing more will ever come, so there is nobody to wake.
        self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn refuse(mut io: DuplexStream) {
        let waker = std::task::Waker::noop();
        let _ = Pin::new(&mut io).poll_write(&mut Context::from_waker(waker), OVERLOADED);
    }
}

fn run(job: &Waiting, limits: Limits, script: Vec<io::Result<DuplexStream>>) -> (WebhookListener, JoinHandle<()>) {
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(accept_loop(Script(script.into()), job.receiver(), limits, stopping));
    (WebhookListener::new((Ipv4Addr::LOCALHOST, 1).into(), stop), running)
}

#[tokio::test(start_paused = true)]
async fn errors_of_accept_do_not_end_the_listener() {
    let job = Waiting::new();
    let (mut peer, theirs) = duplex(4096);
    let mut script: Vec<_> = (0..50).map(|_| Err(io::Error::other("too many open files"))).collect();
    script.push(Err(io::ErrorKind::ConnectionAborted.into()));
    script.push(Ok(theirs));
    let (listener, running) = run(&job, Limits::default(), script);
    peer.write_all(job.event().as_bytes()).await.unwrap();
    assert_status(&rest(&mut peer).await, 204);
    drop(peer);
    listener.shutdown().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_an_error_does_not_keep_the_listener_from_stopping() {
    let job = Waiting::new();
    let endless = (0..1000).map(|_| Err(io::Error::other("too many open files"))).collect();
    let (listener, running) = run(&job, Limits::default(), endless);
    tokio::time::sleep(Duration::from_secs(60)).await;
    listener.shutdown().await;
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_cap_gets_the_static_answer() {
    let job = Waiting::new();
    let ((_first, a), (mut second, b)) = (duplex(4096), duplex(4096));
    let (_listener, _) = run(&job, Limits { max_connections: 1, ..Limits::default() }, vec![Ok(a), Ok(b)]);
    assert_eq!(rest(&mut second).await.as_bytes(), OVERLOADED);
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_time_is_aborted() {
    for drain_timeout in [Duration::ZERO, Duration::from_secs(5)] {
        let job = Waiting::new();
        let (mut peer, theirs) = duplex(4096);
        let limits = Limits { drain_timeout, request_timeout: Duration::MAX, ..Limits::default() };
        let (listener, running) = run(&job, limits, vec![Ok(theirs)]);
        let head = format!("{}content-length: 900\r\n\r\n", job.head());
        peer.write_all(head.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        // Dropped after its first poll, it has still stopped the listener.
        let mut shutdown = Box::pin(listener.shutdown());
        let at_once = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx))).await;
        assert!(at_once.is_pending());
        drop(shutdown);
        listener.shutdown().await;
        running.await.unwrap();
        assert_eq!(rest(&mut peer).await, "");
    }
}
