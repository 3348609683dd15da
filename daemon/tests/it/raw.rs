//! HTTP by hand.

use std::net::SocketAddr;

use foreman_daemon::Daemon;
use foreman_daemon::JobId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The `error` of an answer with that status.
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

/// Sends these bytes on a connection of their own and reads what comes until it closes.
pub(crate) async fn exchange(daemon: &Daemon, request: impl AsRef<[u8]>) -> Answer {
    read(send(daemon.local_addr(), request).await).await
}

/// Sends these bytes on a connection of their own.
pub(crate) async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    stream
}

pub(crate) async fn read(mut stream: TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {answer:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A request with these further header lines.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) async fn get(daemon: &Daemon, path: &str, headers: &[&str]) -> Answer {
    exchange(daemon, request("GET", path, headers, "")).await
}

pub(crate) async fn delete(daemon: &Daemon, path: &str) -> Answer {
    exchange(daemon, request("DELETE", path, &[], "")).await
}

pub(crate) async fn post(daemon: &Daemon, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: Vec<&str> = headers.iter().copied().chain(["Content-Type: application/json"]).collect();
    exchange(daemon, request("POST", path, &headers, body)).await
}

/// Submits one message and gives the job's id.
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

pub(crate) fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["job_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(format!("/jobs/{id}").as_str()));
    id
}

pub(crate) async fn status(daemon: &Daemon, id: &str) -> Value {
    let answer = get(daemon, &format!("/jobs/{id}"), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The job when it has ended.
pub(crate) async fn ended(daemon: &Daemon, id: &str) -> Value {
    let answer = get(daemon, &format!("/jobs/{id}"), &["Prefer: wait=60"]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

pub(crate) fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}
