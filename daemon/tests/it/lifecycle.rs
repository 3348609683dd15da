use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gate::Gate;
use super::raw::{get, read, request, submit, submit_to};
use super::receiver::Receiver;

type Setting = fn(Builder) -> Builder;

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let taken = Daemon::start().await.unwrap();
    let zero = Duration::ZERO;
    let tries: [(Setting, &str); 11] = [
        (|builder| builder.workers(0), "invalid workers: must be at least 1"),
        (|builder| builder.max_queue(0), "invalid max_queue: must be at least 1"),
        (|builder| builder.webhooks_at_once(0), "invalid webhooks_at_once: must be at least 1"),
        (|builder| builder.body_limit(0), "invalid body_limit: must be at least 1"),
        (|builder| builder.max_connections(0), "invalid max_connections: must be at least 1"),
        (|builder| builder.header_timeout(Duration::ZERO), "invalid header_timeout: must not be zero"),
        (|builder| builder.token(""), "invalid token: must not be empty"),
        (|builder| builder.token("a\nb"), "invalid token: must be visible ASCII without blanks"),
        (|builder| builder.token("a b"), "invalid token: must be visible ASCII without blanks"),
        (|builder| builder.webhook_secret(""), "invalid webhook_secret: must not be empty"),
        (|builder| builder.webhook_secret("whsec_?"), "invalid webhook_secret: must be base64 after `whsec_`"),
    ];
    for (set, why) in tries {
        let error = set(Daemon::builder()).start().await.unwrap_err();
        assert!(error.is_invalid_config());
        assert_eq!(error.to_string(), why);
        assert!(why.starts_with(&format!("invalid {}: ", error.option().unwrap())));
    }
    let error = Daemon::builder().listen(taken.local_addr()).start().await.unwrap_err();
    assert!(error.is_listen() && !error.is_invalid_config() && error.option().is_none());
    assert_eq!(error.to_string(), format!("cannot listen on {}", taken.local_addr()));
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::AddrInUse);
    Daemon::builder().drain(zero).start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn the_longest_times_are_times() {
    let longest = Duration::MAX;
    let builder =
        Daemon::builder().drain(longest).max_long_poll(longest).header_timeout(longest).webhook_retries([longest]);
    let mut receiver = Receiver::start(&["500 Oops"]).await;
    let daemon = builder.start().await.unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    let wait = format!("Prefer: wait={}", u64::MAX);
    assert_eq!(get(&daemon, &format!("/jobs/{id}"), &[&wait]).await.json()["state"], "done");
    receiver.event().await;
    daemon.shutdown().await;
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let builder = Daemon::builder().token("hush").tokens(["hush2"]).webhook_secret("hush");
    assert!(!format!("{builder:?}").contains("hush"));
    let daemon = builder.start().await.unwrap();
    assert!(!format!("{daemon:?}").contains("hush"));
}

#[tokio::test]
async fn a_stop_lets_running_jobs_end_and_answers_those_who_wait() {
    let mut receiver = Receiver::start(&[]).await;
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).drain(Duration::from_secs(600)).start().await.unwrap();
    let address = daemon.local_addr();
    let running = submit_to(&daemon, &receiver.url).await;
    gate.begun().await;
    let queued = submit(&daemon, "b").await;
    let mut polls = Vec::new();
    for id in [&running, &queued] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request("GET", &format!("/jobs/{id}"), &["Prefer: wait=60"], "").as_bytes()).await.unwrap();
        polls.push(stream);
    }
    // The polls are there: what came after them was answered.
    assert_eq!(get(&daemon, "/api/tags", &[]).await.status, 200);
    let stop = tokio::spawn(daemon.shutdown());
    // It stops accepting before anything else.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open(1);
    let mut states = Vec::new();
    for poll in polls {
        states.push(read(poll).await.json()["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["done", "queued"]);
    stop.await.unwrap();
    assert!(!gate.has_begun().await);
    assert_eq!(receiver.states(3).await, ["queued", "running", "done"]);
}

#[tokio::test]
async fn a_stop_does_not_wait_beyond_its_time() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).drain(Duration::ZERO).start().await.unwrap();
    let address = daemon.local_addr();
    submit(&daemon, "a").await;
    gate.begun().await;
    daemon.shutdown().await;
    gate.dropped().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn dropping_it_stops_everything() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let address = daemon.local_addr();
    submit(&daemon, "a").await;
    gate.begun().await;
    drop(daemon);
    gate.dropped().await;
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let daemon = Daemon::builder().max_connections(1).start().await.unwrap();
    let mut first = TcpStream::connect(daemon.local_addr()).await.unwrap();
    ask(&mut first).await;
    let mut waiting = TcpStream::connect(daemon.local_addr()).await.unwrap();
    waiting.write_all(request("GET", "/nowhere", &[], "").as_bytes()).await.unwrap();
    // What comes later on the connection that has the place is answered; the other one has nothing yet.
    for _ in 0..3 {
        ask(&mut first).await;
    }
    let nothing = waiting.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert_eq!(read(waiting).await.status, 404);
}

/// One exchange on a connection that stays open.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /api/tags HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"]}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_let_go() {
    let daemon = Daemon::builder().start().await.unwrap();
    let mut silent = TcpStream::connect(daemon.local_addr()).await.unwrap();
    silent.write_all(b"GET /jobs HT").await.unwrap();
    let mut rest = Vec::new();
    // The paused clock jumps to the time-out; without one this would never return.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest).await;
}

/// What others build upon.
#[test]
fn contracts() {
    fn is<T: Send + Sync + 'static>() {}
    fn is_send<T: Send>(_: &T) {}
    is::<Daemon>();
    is::<Builder>();
    is::<Backend>();
    is_send(&Daemon::start());
}
