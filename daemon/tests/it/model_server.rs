//! A model server that sends scripted bytes.

use std::collections::VecDeque;
use std::time::Duration;

use foreman_daemon::Chat;
use foreman_daemon::JobId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::raw::header;

/// The limit in tests of stalls. It is short because the tests wait for it.
pub(crate) const STALL: Duration = Duration::from_millis(20);

/// The requests for the loaded models.
const LOADED: [&str; 4] = ["GET /api/ps", "GET /running", "GET /api/v0/models", "GET /models"];

/// The bytes that are sent on one connection.
pub(crate) struct Script {
    writes: Vec<Vec<u8>>,
    keeps_open: bool,
}

impl Script {
    /// A complete response.
    pub(crate) fn respond(status: &str, body: &str) -> Self {
        let length = body.len();
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        Self { writes: vec![response.into()], keeps_open: false }
    }

    /// A streamed response. Each part is a chunk, and is written separately.
    pub(crate) fn stream(parts: &[impl AsRef<[u8]>]) -> Self {
        let mut script = Self::broken(parts);
        script.writes.push(b"0\r\n\r\n".to_vec());
        script
    }

    /// A streamed response that is closed before its end.
    pub(crate) fn broken(parts: &[impl AsRef<[u8]>]) -> Self {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let mut writes = vec![head.as_bytes().to_vec()];
        for part in parts {
            let part = part.as_ref();
            writes.push([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        Self { writes, keeps_open: false }
    }

    /// A streamed response that stalls after the parts.
    pub(crate) fn stalled(parts: &[impl AsRef<[u8]>]) -> Self {
        Self { keeps_open: true, ..Self::broken(parts) }
    }

    /// No response.
    pub(crate) fn silent() -> Self {
        Self { writes: Vec::new(), keeps_open: true }
    }
}

pub(crate) struct ModelServer {
    pub(crate) url: String,
    requests: UnboundedReceiver<ReceivedRequest>,
    disconnects: UnboundedReceiver<()>,
    task: tokio::task::JoinHandle<()>,
}

/// A request that the server has received.
#[derive(Debug)]
pub(crate) struct ReceivedRequest {
    head: String,
    pub(crate) body: String,
}

impl ReceivedRequest {
    pub(crate) fn line(&self) -> &str {
        self.head.split(" HTTP/1.1").next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl ModelServer {
    /// Responds to one request after the other with these scripts. It does not report which models are loaded.
    pub(crate) async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::start_with(scripts, false).await
    }

    /// The same, also to requests for the loaded models.
    pub(crate) async fn start_with_loaded(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::start_with(scripts, true).await
    }

    async fn start_with(scripts: impl IntoIterator<Item = Script>, reports: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (request_sender, requests) = unbounded_channel();
        let (disconnect_sender, disconnects) = unbounded_channel();
        let task =
            tokio::spawn(serve(listener, scripts.into_iter().collect(), reports, request_sender, disconnect_sender));
        Self { url, requests, disconnects, task }
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> ReceivedRequest {
        self.requests.recv().await.unwrap()
    }

    /// Waits until the backend has closed a connection that stays open.
    pub(crate) async fn disconnected(&mut self) {
        self.disconnects.recv().await.unwrap();
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    mut scripts: VecDeque<Script>,
    reports: bool,
    requests: UnboundedSender<ReceivedRequest>,
    disconnects: UnboundedSender<()>,
) {
    while !scripts.is_empty() {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = read(&mut stream).await;
        let script = if !reports && LOADED.contains(&request.line()) {
            Script::respond("404 Not Found", "")
        } else {
            let _ = requests.send(request);
            scripts.pop_front().unwrap()
        };
        for write in script.writes {
            // The backend may have closed the connection.
            if stream.write_all(&write).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if script.keeps_open {
            let _ = stream.read(&mut [0]).await;
            let _ = disconnects.send(());
        }
    }
}

async fn read(stream: &mut TcpStream) -> ReceivedRequest {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "incomplete request");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if body.len() == header(head, "content-length").map_or(0, |length| length.parse().unwrap()) {
            return ReceivedRequest { head: head.to_owned(), body: body.to_owned() };
        }
    }
}

/// A URL on which nothing listens. The socket reserves its port.
pub(crate) fn unused_url() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// Parses the body of a submission.
pub(crate) fn chat(body: &str) -> Chat {
    Chat::from_json(JobId::new("7").unwrap(), 1, body.as_bytes()).unwrap()
}

/// Whether the error is transient, and its message with its causes.
pub(crate) fn error_chain(error: &foreman_daemon::BoxError) -> (bool, String) {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    let (mut transient, mut text) = (false, Vec::new());
    while let Some(error) = next {
        transient |= error.is::<foreman_daemon::Transient>();
        text.push(error.to_string());
        next = error.source();
    }
    (transient, text.join(": "))
}
