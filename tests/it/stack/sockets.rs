//! The same on real sockets: what is between client and daemon breaks the connection in the middle of a submission.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreman_client::api::{Api, Transport};
use foreman_client::{Client, WaitLayer};
use foreman_daemon::Daemon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::{ServiceBuilder, ServiceExt as _};

use super::rig::{quick_polls, quick_retries, request, until};
use crate::eventually::bounded;
use crate::raw::header;

/// Where a connection is reset.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cut {
    Nowhere,
    /// The head of the submission has come, and nothing of it has reached the daemon.
    BeforeBody,
    /// The daemon has answered, and nothing of that has reached the client.
    BeforeAnswer,
    WithinAnswer,
}

/// A proxy that takes one request a connection, so that each can be cut by itself.
struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    cuts: Mutex<VecDeque<Cut>>,
    posts: Mutex<usize>,
    strip_keys: bool,
}

impl Proxy {
    async fn before(daemon: &Daemon, strip_keys: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { strip_keys, ..Shared::default() });
        let (daemon, serving) = (daemon.local_addr(), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&serving);
                connections.spawn(async move { relay(client, daemon, &shared).await });
            }
        });
        Self { url, shared, task }
    }

    fn cut(&self, cut: Cut) {
        self.shared.cuts.lock().unwrap().push_back(cut);
    }

    fn posts(&self) -> usize {
        *self.shared.posts.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays one request and its answer; an error means that one side has gone.
async fn relay(mut client: TcpStream, daemon: std::net::SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        // Byte by byte, so that the body is still to be read.
        bytes.push(client.read_u8().await?);
        if bytes.ends_with(b"\r\n\r\n") {
            break String::from_utf8(bytes).unwrap();
        }
    };
    let mut cut = Cut::Nowhere;
    if head.starts_with("POST ") {
        *shared.posts.lock().unwrap() += 1;
        cut = shared.cuts.lock().unwrap().pop_front().unwrap_or(Cut::Nowhere);
    }
    if cut == Cut::BeforeBody {
        return reset(client);
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).await?;

    let keep = |line: &&str| !(shared.strip_keys && line.to_ascii_lowercase().starts_with("idempotency-key:"));
    let lines: Vec<&str> = head.trim_end().split("\r\n").filter(keep).collect();
    let mut server = TcpStream::connect(daemon).await?;
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes()).await?;
    server.write_all(&body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    match cut {
        Cut::BeforeAnswer => return reset(client),
        Cut::WithinAnswer => {
            client.write_all(&answer[..answer.len() - 3]).await?;
            return reset(client);
        }
        Cut::Nowhere | Cut::BeforeBody => client.write_all(&answer).await?,
    }
    client.shutdown().await
}

/// Closes with RST instead of FIN.
fn reset(client: TcpStream) -> std::io::Result<()> {
    #[allow(deprecated, reason = "what is to be used instead is not in the oldest tokio that is supported")]
    client.set_linger(Some(Duration::ZERO))?;
    drop(client);
    Ok(())
}

const CUTS: [Cut; 3] = [Cut::BeforeBody, Cut::BeforeAnswer, Cut::WithinAnswer];

fn jobs(proxy: &Proxy) -> foreman_client::client::Jobs {
    let base: foreman_client::api::BaseUrl = proxy.url.parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let waits = WaitLayer::builder(api.clone()).poll_policy(quick_polls()).build().unwrap();
    ServiceBuilder::new().layer(waits).retry(quick_retries()).service(api)
}

#[tokio::test]
async fn a_connection_reset_in_a_submission_runs_it_once_if_keys_are_kept() {
    for cut in CUTS {
        let daemon = Daemon::start().await.unwrap();
        let proxy = Proxy::before(&daemon, false).await;
        let jobs = jobs(&proxy);
        bounded(jobs.clone().oneshot(request())).await.unwrap();
        proxy.cut(cut);
        let result = bounded(jobs.clone().oneshot(request())).await.unwrap();
        assert_eq!(daemon.executions(&result.job_id).await, 1, "{cut:?}");
        let stats = daemon.stats();
        assert_eq!((stats.accepted, stats.executions), (2, 2), "{cut:?}");
        assert_eq!((proxy.posts(), stats.replayed), (3, u64::from(cut != Cut::BeforeBody)), "{cut:?}");
    }
}

#[tokio::test]
async fn a_connection_reset_in_a_submission_is_an_error_if_keys_are_not_kept() {
    for cut in CUTS {
        let daemon = Daemon::start().await.unwrap();
        let proxy = Proxy::before(&daemon, true).await;
        let jobs = jobs(&proxy);
        bounded(jobs.clone().oneshot(request())).await.unwrap();
        proxy.cut(cut);
        let error = bounded(jobs.clone().oneshot(request())).await.unwrap_err();
        assert!(error.is_maybe_submitted() && error.is_retryable(), "{cut:?}: {error}");
        assert_eq!(proxy.posts(), 2, "{cut:?}");
        let ran = if cut == Cut::BeforeBody { 1 } else { 2 };
        until(|| daemon.stats().executions == ran).await;
    }
}

#[tokio::test]
async fn a_connection_reset_in_a_submission_is_made_good_by_the_first_event() {
    for cut in [Cut::BeforeAnswer, Cut::WithinAnswer] {
        let daemon = Daemon::start().await.unwrap();
        let proxy = Proxy::before(&daemon, true).await;
        let client = Client::builder(&proxy.url).build().await.unwrap();
        proxy.cut(cut);
        let result = bounded(client.submit(request())).await.unwrap();
        assert_eq!(
            (daemon.executions(&result.job_id).await, daemon.stats().accepted, proxy.posts()),
            (1, 1, 1),
            "{cut:?}"
        );
        assert_eq!(client.stats().waits.lost_responses, 1);
    }
}

#[tokio::test]
async fn where_nobody_listens_a_submission_is_unsent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let base: foreman_client::api::BaseUrl = format!("http://{nobody}").parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let waits = WaitLayer::new(api.clone());
    let jobs = ServiceBuilder::new().layer(waits).retry(quick_retries()).service(api);
    let error = bounded(jobs.oneshot(request())).await.unwrap_err();
    assert!(error.is_connect() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error}");
}
