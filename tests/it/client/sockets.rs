//! The listening sockets of a client. The test runs in a process of its own, since other tests bind too.
#![cfg(target_os = "linux")]

use foreman_client::api::HttpService;
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{Client, Pool};
use foreman_daemon::Daemon;
use http::Method;
use tokio::process::Command;

use crate::support::{Exchange, bounded, function_http, request};

/// Set in the child process.
const CHILD: &str = "FOREMAN_CLIENT_TEST_CHILD";

/// The number of listening sockets of this process.
fn listening_sockets() -> usize {
    let mine: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|table| std::fs::read_to_string(table).unwrap_or_default());
    let lines =
        tables.iter().flat_map(|table| table.lines().skip(1)).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Columns of proc(5): the state (0A is LISTEN) is the fourth, the inode the tenth.
    lines.filter(|line| line[3] == "0A" && mine.iter().any(|inode| inode == line[9])).count()
}

async fn sockets_after_job(client: Client<impl HttpService + Clone>) -> usize {
    bounded(client.submit(request())).await.unwrap();
    listening_sockets()
}

/// Runs the test of that name in a process of its own. Returns whether this is that process.
async fn is_child(name: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let name = format!("client::sockets::{name}");
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", &name]).env(CHILD, "1").kill_on_drop(true);
    let child = bounded(child.output()).await.unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
    false
}

#[tokio::test]
async fn pool_has_one_listening_socket() {
    if !is_child("pool_has_one_listening_socket").await {
        return;
    }
    let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (mut daemons, mut clients) = (Vec::new(), Vec::new());
    for at in 0..3 {
        let secret = format!("secret {at}");
        let daemon = Daemon::builder().webhook_secret(&secret).start().await.unwrap();
        let client = Client::builder(daemon.url()).webhooks(webhooks.clone()).webhook_secret(secret);
        clients.push(client.build().await.unwrap());
        daemons.push(daemon);
    }
    let pool = Pool::from_clients(clients.clone()).unwrap();
    bounded(pool.submit(request())).await.unwrap();
    for client in clients {
        bounded(client.submit(request())).await.unwrap();
    }
    // Those of the daemons, and one of the pool.
    assert_eq!(listening_sockets(), daemons.len() + 1);
}

#[tokio::test]
async fn polling_does_not_listen() {
    if !is_child("polling_does_not_listen").await {
        return;
    }
    // The daemon has no socket.
    let daemon = function_http(|request| {
        let status = if request.method() == Method::POST { 202 } else { 200 };
        Exchange::response(status, &[], r#"{"job_id":"7","state":"done"}"#)
    });
    let client = || Client::builder("http://127.0.0.1:9");
    assert_eq!(listening_sockets(), 0);
    assert_eq!(
        sockets_after_job(client().polling().build_with(daemon.clone()).await.unwrap()).await,
        0,
        "polling binds no socket"
    );
    assert_eq!(sockets_after_job(client().build_with(daemon).await.unwrap()).await, 1, "webhooks bind one socket");
}
