use std::net::SocketAddr;
use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::gate::Gate;
use super::raw::{get, read, request, submit, submit_to};
use super::receiver::Receiver;

type Setting = fn(Builder) -> Builder;

#[tokio::test]
async fn invalid_option_is_rejected_by_name() {
    let taken = Daemon::start().await.unwrap();
    let zero = Duration::ZERO;
    let tries: &[(Setting, &str)] = &[
        (|builder| builder.workers(0), "invalid workers: must be at least 1"),
        (|builder| builder.max_queue(0), "invalid max_queue: must be at least 1"),
        (|builder| builder.max_queue_per_token(0), "invalid max_queue_per_token: must be at least 1"),
        (|builder| builder.body_limit(10).body_budget(19), "invalid body_budget: must be at least twice body_limit"),
        (|builder| builder.webhooks_at_once(0), "invalid webhooks_at_once: must be at least 1"),
        (|builder| builder.webhooks_per_host(0), "invalid webhooks_per_host: must be at least 1"),
        (|builder| builder.body_limit(0), "invalid body_limit: must be at least 1"),
        (|builder| builder.max_connections(0), "invalid max_connections: must be at least 1"),
        (|builder| builder.max_connections_per_peer(0), "invalid max_connections_per_peer: must be at least 1"),
        (|builder| builder.write_timeout(Duration::ZERO), "invalid write_timeout: must not be zero"),
        (|builder| builder.header_timeout(Duration::ZERO), "invalid header_timeout: must not be zero"),
        (
            |builder| builder.listen(([0, 0, 0, 0], 0)),
            "invalid listen: must be a loopback address if there is no token and allow_anonymous is not set",
        ),
        (
            |builder| builder.listen("[::ffff:10.0.0.1]:0".parse::<SocketAddr>().unwrap()),
            "invalid listen: must be a loopback address if there is no token and allow_anonymous is not set",
        ),
        (|builder| builder.token(""), "invalid token: must not be empty"),
        (|builder| builder.token("a\nb"), "invalid token: must be visible ASCII without blanks"),
        (|builder| builder.token("a b"), "invalid token: must be visible ASCII without blanks"),
        (|builder| builder.webhook_secret(""), "invalid webhook_secret: must not be empty"),
        (|builder| builder.webhook_secret("whsec_?"), "invalid webhook_secret: must be base64 after `whsec_`"),
    ];
    for &(set, message) in tries {
        let error = set(Daemon::builder()).start().await.unwrap_err();
        assert!(error.is_invalid_config());
        assert_eq!(error.to_string(), message);
        assert!(message.starts_with(&format!("invalid {}: ", error.option().unwrap())));
    }
    let error = Daemon::builder().listen(taken.local_addr()).start().await.unwrap_err();
    assert!(error.is_listen() && !error.is_invalid_config() && error.option().is_none());
    assert_eq!(error.to_string(), format!("cannot listen on {}", taken.local_addr()));
    let cause = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(cause.kind(), std::io::ErrorKind::AddrInUse);
    for open in [Daemon::builder().allow_anonymous(true), Daemon::builder().token("hush")] {
        open.listen(([0, 0, 0, 0], 0)).start().await.unwrap().shutdown().await;
    }
    Daemon::builder().drain(zero).start().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn maximum_durations_are_accepted() {
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
async fn debug_output_hides_secrets() {
    let builder = Daemon::builder().token("hush").tokens(["hush2"]).webhook_secret("hush");
    assert!(!format!("{builder:?}").contains("hush"));
    let daemon = builder.start().await.unwrap();
    assert!(!format!("{daemon:?}").contains("hush"));
}

#[tokio::test]
async fn shutdown_drains_running_jobs_and_ends_long_polls() {
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
    // The daemon has read the polls, since it has responded to a later request.
    assert_eq!(get(&daemon, "/api/tags", &[]).await.status, 200);
    let stop = tokio::spawn(daemon.shutdown());
    // A shutdown closes the listener first.
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
async fn shutdown_aborts_jobs_after_drain_timeout() {
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
async fn drop_stops_everything() {
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

#[tokio::test(start_paused = true)]
async fn silent_peer_is_disconnected() {
    let daemon = Daemon::builder().start().await.unwrap();
    let mut silent = TcpStream::connect(daemon.local_addr()).await.unwrap();
    silent.write_all(b"GET /jobs HT").await.unwrap();
    let mut rest = Vec::new();
    // The paused clock advances to the timeout; without one this read would never return.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest).await;
}

/// Auto traits that users rely on.
#[test]
fn auto_traits() {
    fn is<T: Send + Sync + 'static>() {}
    fn is_send<T: Send>(_: &T) {}
    is::<Daemon>();
    is::<Builder>();
    is::<Backend>();
    is_send(&Daemon::start());
}
