//! HTTP requests without an HTTP library.

use std::net::SocketAddr;

use foreman_daemon::Daemon;
use foreman_daemon::JobId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A parsed response.
#[derive(Debug)]
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl RawResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Whether `Retry-After` has this number of seconds, or up to half more.
    pub(crate) fn asks_to_wait(&self, seconds: u64) -> bool {
        let asked = self.header("retry-after").and_then(|value| value.parse().ok());
        asked.is_some_and(|asked: u64| (seconds..=seconds + seconds / 2).contains(&asked))
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// Asserts the status of an error response, and returns its `error`.
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        json["error"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Sends a request on a new connection, and reads the response until the daemon closes it.
pub(crate) async fn exchange(daemon: &Daemon, request: impl AsRef<[u8]>) -> RawResponse {
    read(send(daemon.local_addr(), request).await).await
}

/// Sends a request on a new connection.
pub(crate) async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    stream
}

pub(crate) async fn read(mut stream: TcpStream) -> RawResponse {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    RawResponse { status, head: head.to_owned(), body: body.to_owned() }
}

/// A request with additional header lines.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) async fn get(daemon: &Daemon, path: &str, headers: &[&str]) -> RawResponse {
    exchange(daemon, request("GET", path, headers, "")).await
}

pub(crate) async fn delete(daemon: &Daemon, path: &str) -> RawResponse {
    exchange(daemon, request("DELETE", path, &[], "")).await
}

pub(crate) async fn post(daemon: &Daemon, path: &str, headers: &[&str], body: &str) -> RawResponse {
    let headers: Vec<&str> = headers.iter().copied().chain(["Content-Type: application/json"]).collect();
    exchange(daemon, request("POST", path, &headers, body)).await
}

/// Submits one message, and returns the job's id.
pub(crate) async fn submit(daemon: &Daemon, text: &str) -> String {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    accepted(&post(daemon, "/jobs", &[], &body).await)
}

/// Submits with a callback URL.
pub(crate) async fn submit_to(daemon: &Daemon, url: &str) -> String {
    accepted(
        &post(daemon, "/jobs", &[], &format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{url}"}}"#)).await,
    )
}

pub(crate) fn accepted(response: &RawResponse) -> String {
    assert_eq!(response.status, 202, "{response:?}");
    let id = response.json()["job_id"].as_str().unwrap().to_owned();
    assert_eq!(response.header("location"), Some(format!("/jobs/{id}").as_str()));
    id
}

pub(crate) async fn status(daemon: &Daemon, id: &str) -> Value {
    let response = get(daemon, &format!("/jobs/{id}"), &[]).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// Waits for the end of a job.
pub(crate) async fn ended(daemon: &Daemon, id: &str) -> Value {
    let response = get(daemon, &format!("/jobs/{id}"), &["Prefer: wait=60"]).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

pub(crate) fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}
