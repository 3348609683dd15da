//! What is bound, looked at from outside the client: in a process of its own, since other tests of this one bind too.
#![cfg(target_os = "linux")]

use std::process::Command;

use foreman_client::api::HttpService;
use foreman_client::{Client, SubmitRequest};
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::service_fn;

/// Set in the process that is looked at.
const CHILD: &str = "FOREMAN_CLIENT_TEST_CHILD";

/// How many sockets of this process listen.
fn listening() -> usize {
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

async fn finished(client: Client<impl HttpService + Clone>) -> usize {
    let request = SubmitRequest::builder("m").user("hi").build().unwrap();
    client.submit(request).await.unwrap();
    listening()
}

#[tokio::test]
async fn polling_opens_no_socket_to_listen_on() {
    if std::env::var_os(CHILD).is_none() {
        let name = "client::sockets::polling_opens_no_socket_to_listen_on";
        let child =
            Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    // A daemon in memory, so that nothing but the client could listen.
    let daemon = service_fn(|request: Request<Full<bytes::Bytes>>| async move {
        let status = if request.method() == Method::POST { 202 } else { 200 };
        Response::builder().status(status).body(Full::<bytes::Bytes>::from(r#"{"job_id":"7","state":"done"}"#))
    });
    let client = || Client::builder("http://127.0.0.1:9");
    assert_eq!(listening(), 0);
    assert_eq!(finished(client().polling().build_with(daemon).await.unwrap()).await, 0, "polling binds nothing");
    assert_eq!(
        finished(client().build_with(daemon).await.unwrap()).await,
        1,
        "and by webhook it is one, so this can be seen"
    );
}
