//! Event streams, read by hand.

use foreman_daemon::{Builder, Daemon, Echo};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

#[cfg(feature = "postgres")]
use super::database_proxy::DatabaseProxy;
use super::gate::Gate;
#[cfg(feature = "postgres")]
use super::postgres_server::server;
use super::raw::{accepted, delete, get, post, request, send};
use crate::eventually::{bounded, eventually};

/// A stream that is read block by block.
struct Stream {
    connection: TcpStream,
    /// Bytes that have been read, without the head of the response.
    read: String,
}

/// An event: its name (empty for a position), its id, and its data.
type Event = (String, String, Value);

impl Stream {
    async fn open(daemon: &Daemon, query: &str, headers: &[&str]) -> Self {
        let request = request("GET", &format!("/events{query}"), headers, "");
        let mut stream = Self { connection: send(daemon.local_addr(), request).await, read: String::new() };
        let head = stream.up_to("\r\n\r\n").await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("cache-control: no-store\r\n"), "{head}");
        stream
    }

    async fn up_to(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((before, rest)) = self.read.split_once(end) {
                let (before, rest) = (before.to_owned(), rest.to_owned());
                self.read = rest;
                return Some(before);
            }
            let mut bytes = [0; 4096];
            let length = bounded(self.connection.read(&mut bytes)).await.unwrap();
            if length == 0 {
                return None;
            }
            self.read.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }

    /// The next event. `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            // A chunk is one part of the stream.
            let length = self.up_to("\r\n").await?;
            let length = usize::from_str_radix(&length, 16).unwrap();
            let block = self.up_to("\r\n").await?;
            assert_eq!(block.len(), length);
            if length == 0 {
                return None;
            }
            let (mut name, mut id, mut data) = (String::new(), String::new(), String::new());
            for line in block.strip_suffix("\n\n").unwrap().split('\n') {
                match line.split_once(": ") {
                    Some(("event", value)) => name = value.to_owned(),
                    Some(("id", value)) => id = value.to_owned(),
                    Some(("data", value)) => data.push_str(value),
                    _ => assert_eq!(line, ":", "{block}"),
                }
            }
            if !id.is_empty() {
                return Some((name, id, serde_json::from_str(&data).unwrap_or_default()));
            }
        }
    }

    /// The job and the state of the next event.
    async fn job(&mut self) -> (String, String) {
        let (name, _, data) = self.next().await.unwrap();
        assert_eq!(name, "job", "{data}");
        (data["job_id"].as_str().unwrap().to_owned(), data["state"].as_str().unwrap().to_owned())
    }

    /// The position that the stream begins with.
    async fn position(&mut self) -> String {
        let (name, id, data) = self.next().await.unwrap();
        assert_eq!((name.as_str(), data), ("", Value::Null));
        id
    }
}

async fn submit(daemon: &Daemon, stream: Option<&str>, token: &str) -> String {
    let body = json!({ "model": "m", "event_stream": stream }).to_string();
    accepted(&post(daemon, "/jobs", &[&format!("Authorization: Bearer {token}")], &body).await)
}

async fn start(builder: Builder) -> (Gate, Daemon) {
    let (gate, backend) = Gate::new();
    (gate, builder.workers(1).backend(backend).start().await.unwrap())
}

#[tokio::test]
async fn each_state_is_an_event_in_order() {
    let (gate, daemon) = start(Daemon::builder()).await;
    let mut all = Stream::open(&daemon, "", &["Accept: text/event-stream"]).await;
    let first = all.position().await;
    let ran = submit(&daemon, None, "").await;
    let cancelled = submit(&daemon, None, "").await;
    gate.begun().await;
    assert_eq!(delete(&daemon, &format!("/jobs/{cancelled}")).await.status, 202);
    gate.open(1);
    let mut states = Vec::new();
    let mut ids = vec![first];
    while states.len() < 5 {
        let (name, id, data) = all.next().await.unwrap();
        assert_eq!(name, "job");
        if data["state"] == "done" {
            // It is the JSON of a poll.
            assert_eq!(data, get(&daemon, &format!("/jobs/{ran}"), &[]).await.json());
        }
        let job = if data["job_id"] == ran.as_str() { "ran" } else { "cancelled" };
        states.push(format!("{job} {}", data["state"].as_str().unwrap()));
        ids.push(id);
    }
    let of = |job: &str| states.iter().filter_map(|state| state.strip_prefix(job)).collect::<Vec<_>>();
    assert_eq!((of("ran "), of("cancelled ")), (vec!["queued", "running", "done"], vec!["queued", "failed"]));
    let numbers: Vec<u64> = ids.iter().map(|id| id.rsplit_once('-').unwrap().1.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(daemon.stats().stream_events, 5);
}

#[tokio::test]
async fn only_the_jobs_of_token_and_name_are_heard() {
    let daemon = Daemon::builder().tokens(["one", "two"]).start().await.unwrap();
    let auth = |token: &str| format!("Authorization: Bearer {token}");
    let mut named = Stream::open(&daemon, "?stream=a", &[&auth("one")]).await;
    let mut all = Stream::open(&daemon, "", &[&auth("one")]).await;
    let mut other = Stream::open(&daemon, "?stream=a", &[&auth("two")]).await;
    for stream in [&mut named, &mut all, &mut other] {
        stream.position().await;
    }
    for (name, token) in [(Some("b"), "one"), (None, "one"), (Some("a"), "two")] {
        submit(&daemon, name, token).await;
    }
    let own = submit(&daemon, Some("a"), "one").await;
    assert_eq!(named.job().await, (own.clone(), "queued".to_owned()));
    let others = submit(&daemon, Some("a"), "two").await;
    let mut heard = std::collections::HashSet::new();
    while !heard.contains(&others) {
        heard.insert(other.job().await.0);
    }
    assert!(!heard.contains(&own) && heard.len() == 2, "{heard:?}");
    let mut heard = std::collections::HashSet::new();
    while !heard.contains(&own) {
        heard.insert(all.job().await.0);
    }
    assert!(!heard.contains(&others) && heard.len() == 3, "{heard:?}");
}

#[tokio::test]
async fn stream_continues_after_the_last_event() {
    let (gate, daemon) = start(Daemon::builder()).await;
    let mut stream = Stream::open(&daemon, "?stream=a", &[]).await;
    let position = stream.position().await;
    drop(stream);
    let job = submit(&daemon, Some("a"), "").await;
    gate.begun().await;
    let mut stream = Stream::open(&daemon, "?stream=a", &[&format!("Last-Event-ID: {position}")]).await;
    assert_eq!(stream.position().await, position);
    assert_eq!(stream.job().await, (job.clone(), "queued".to_owned()));
    let (_, second, _) = stream.next().await.unwrap();
    drop(stream);
    gate.open(1);
    let mut stream = Stream::open(&daemon, "?stream=a", &[&format!("Last-Event-ID: {second}")]).await;
    assert_eq!(stream.position().await, second);
    assert_eq!(stream.job().await, (job, "done".to_owned()));

    for unknown in ["", "7", "other-1", &format!("{position}9999"), "\u{e4}"] {
        let mut stream = Stream::open(&daemon, "?stream=a", &[&format!("Last-Event-ID: {unknown}")]).await;
        let (name, id, data) = stream.next().await.unwrap();
        assert_eq!((name.as_str(), data), ("reset", json!({})), "{unknown}");
        submit(&daemon, Some("a"), "").await;
        assert_ne!(stream.next().await.unwrap().1, id);
    }
    assert_eq!(daemon.stats().stream_resets, 5);
}

#[tokio::test]
async fn name_survives_a_restart_and_the_position_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || Daemon::builder().store(folder.path().join("jobs.db")).drain(std::time::Duration::ZERO);
    let (gate, daemon) = start(builder()).await;
    let mut stream = Stream::open(&daemon, "?stream=a", &[]).await;
    let position = stream.position().await;
    let job = submit(&daemon, Some("a"), "").await;
    assert_eq!(stream.job().await, (job.clone(), "queued".to_owned()));
    gate.begun().await;
    daemon.shutdown().await;
    // The stream has ended with the daemon.
    while stream.next().await.is_some() {}

    let (gate, daemon) = start(builder()).await;
    gate.begun().await;
    let mut stream = Stream::open(&daemon, "?stream=a", &[&format!("Last-Event-ID: {position}")]).await;
    assert_eq!(stream.next().await.unwrap().0, "reset");
    gate.open(1);
    assert_eq!(stream.job().await, (job, "done".to_owned()));
}

#[tokio::test]
async fn large_results_are_left_out() {
    let daemon = Daemon::builder().backend(Echo::new()).start().await.unwrap();
    let mut stream = Stream::open(&daemon, "", &[]).await;
    stream.position().await;
    for (length, truncated) in [(1_000, Value::Null), (100_000, json!(true))] {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x".repeat(length) }] });
        accepted(&post(&daemon, "/jobs", &[], &body.to_string()).await);
        let data = loop {
            let (_, _, data) = stream.next().await.unwrap();
            if data["state"] == "done" {
                break data;
            }
        };
        assert_eq!(data["truncated"], truncated);
        assert_eq!(data["result"].is_null(), truncated == json!(true));
    }
}

#[tokio::test]
async fn last_events_come_before_a_stop() {
    let (gate, daemon) = start(Daemon::builder()).await;
    let mut stream = Stream::open(&daemon, "", &[]).await;
    stream.position().await;
    let job = submit(&daemon, None, "").await;
    gate.begun().await;
    gate.open(1);
    bounded(daemon.shutdown()).await;
    for state in ["queued", "running", "done"] {
        assert_eq!(stream.job().await, (job.clone(), state.to_owned()));
    }
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let daemon = Daemon::builder().token("t").start().await.unwrap();
    let auth = "Authorization: Bearer t";
    assert_eq!(get(&daemon, "/events", &[]).await.refused(401), "missing or unknown bearer token");
    for query in ["?stream=", "?stream=a%20b", &format!("?stream={}", "x".repeat(129))] {
        let refused = get(&daemon, &format!("/events{query}"), &[auth]).await.refused(400);
        assert_eq!(refused, "invalid stream: must be 1 to 128 visible ASCII characters");
    }
    assert!(get(&daemon, "/events?strean=a", &[auth]).await.refused(400).contains("strean"));
    assert_eq!(
        get(&daemon, "/events", &[auth, "Accept: application/json"]).await.refused(406),
        "the response is text/event-stream"
    );
    assert_eq!(post(&daemon, "/events", &[auth], "{}").await.refused(405), "method not allowed");
    for name in [json!(""), json!("a b"), json!("ä"), json!("x".repeat(129)), json!(7)] {
        let body = json!({ "model": "m", "event_stream": name }).to_string();
        let refused = post(&daemon, "/jobs", &[auth], &body).await.refused(422);
        assert!(refused.contains("event_stream") || refused.contains("string"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn streams_take_half_of_the_connections() {
    let daemon = Daemon::builder().max_connections(4).start().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = Stream::open(&daemon, "", &[]).await;
        stream.position().await;
        streams.push(stream);
    }
    let refused = get(&daemon, "/events", &[]).await;
    assert!(refused.asks_to_wait(10), "{refused:?}");
    assert_eq!(refused.refused(503), "too many event streams");
    drop(streams);
    let metrics = async || get(&daemon, "/metrics", &[]).await.body;
    while !metrics().await.contains("foreman_event_streams 0\n") {
        tokio::task::yield_now().await;
    }
    Stream::open(&daemon, "", &[]).await.position().await;
}

#[tokio::test]
async fn repeated_submission_moves_the_job_to_the_newest_stream() {
    let (gate, daemon) = start(Daemon::builder()).await;
    let key = "Idempotency-Key: k";
    let submit = async |name: &str| {
        let body = json!({ "model": "m", "event_stream": name }).to_string();
        accepted(&post(&daemon, "/jobs", &[key], &body).await)
    };
    let job = submit("a").await;
    gate.begun().await;
    assert_eq!(submit("b").await, job);
    let mut stream = Stream::open(&daemon, "?stream=b", &[]).await;
    stream.position().await;
    gate.open(1);
    assert_eq!(stream.job().await, (job, "done".to_owned()));
    eventually("sent", || daemon.stats().stream_events == 1).await;
}

/// A client that knows another daemon of the queue reads the events there.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn streams_end_while_the_daemon_cannot_read_its_database() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let proxy = DatabaseProxy::start(&url);
    let daemon = Daemon::builder().postgres(proxy.url(&url)).backend(Echo::new()).start().await.unwrap();
    let mut stream = Stream::open(&daemon, "?stream=a", &[]).await;
    stream.next().await.unwrap();
    proxy.refuse_connections();
    bounded(async { while stream.next().await.is_some() {} }).await;
    let refused = get(&daemon, "/events?stream=a", &[]).await;
    assert!(refused.asks_to_wait(5));
    assert_eq!(refused.refused(503), "the daemon cannot read the changes of jobs in its database");
    proxy.restore();
    let opened = async {
        loop {
            let request = request("GET", "/events", &[], "");
            let mut stream = Stream { connection: send(daemon.local_addr(), request).await, read: String::new() };
            if stream.up_to("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    };
    bounded(opened).await;
}
