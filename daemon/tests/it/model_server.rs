//! A model server that writes canned bytes.

use std::collections::VecDeque;
use std::time::Duration;

use foreman_daemon::Chat;
use foreman_daemon::JobId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::raw::header;

/// How long nothing has to come in tests of that: short, since it has to pass.
pub(crate) const STALL: Duration = Duration::from_millis(20);

/// What is written to one connection.
pub(crate) struct Script {
    writes: Vec<Vec<u8>>,
    stays: bool,
}

impl Script {
    /// A whole answer.
    pub(crate) fn answer(status: &str, body: &str) -> Self {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        Self { writes: vec![answer.into()], stays: false }
    }

    /// A streamed answer, each part a chunk written by itself.
    pub(crate) fn stream(parts: &[impl AsRef<[u8]>]) -> Self {
        let mut script = Self::broken(parts);
        script.writes.push(b"0\r\n\r\n".to_vec());
        script
    }

    /// One that is closed in its midst.
    pub(crate) fn broken(parts: &[impl AsRef<[u8]>]) -> Self {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let mut writes = vec![head.as_bytes().to_vec()];
        for part in parts {
            let part = part.as_ref();
            writes.push([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        }
        Self { writes, stays: false }
    }

    /// One after which nothing comes.
    pub(crate) fn stalled(parts: &[impl AsRef<[u8]>]) -> Self {
        Self { stays: true, ..Self::broken(parts) }
    }

    /// Nothing at all comes.
    pub(crate) fn silent() -> Self {
        Self { writes: Vec::new(), stays: true }
    }
}

pub(crate) struct ModelServer {
    pub(crate) url: String,
    asked: UnboundedReceiver<Asked>,
    left: UnboundedReceiver<()>,
    task: tokio::task::JoinHandle<()>,
}

/// A request that came.
#[derive(Debug)]
pub(crate) struct Asked {
    head: String,
    pub(crate) body: String,
}

impl Asked {
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
    /// Answers one request after the other with these.
    pub(crate) async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (told, asked) = unbounded_channel();
        let (leaves, left) = unbounded_channel();
        let task = tokio::spawn(serve(listener, scripts.into_iter().collect(), told, leaves));
        Self { url, asked, left, task }
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// Waits until the backend has left an answer that stalled.
    pub(crate) async fn left(&mut self) {
        self.left.recv().await.unwrap();
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
    told: UnboundedSender<Asked>,
    leaves: UnboundedSender<()>,
) {
    while let Some(script) = scripts.pop_front() {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let _ = told.send(read(&mut stream).await);
        for write in script.writes {
            // The backend may have enough by now.
            if stream.write_all(&write).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if script.stays {
            let _ = stream.read(&mut [0]).await;
            let _ = leaves.send(());
        }
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the request broke off");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if body.len() == header(head, "content-length").map_or(0, |length| length.parse().unwrap()) {
            return Asked { head: head.to_owned(), body: body.to_owned() };
        }
    }
}

/// A URL at which nobody listens as long as the socket is kept, which is bound so that nobody else can be.
pub(crate) fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// A chat out of a submission's body.
pub(crate) fn chat(body: &str) -> Chat {
    Chat::from_json(JobId::new("7").unwrap(), 1, body.as_bytes()).unwrap()
}

/// The error and its causes, and whether it may go away.
pub(crate) fn told(error: &foreman_daemon::BoxError) -> (bool, String) {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    let (mut transient, mut text) = (false, Vec::new());
    while let Some(error) = next {
        transient |= error.is::<foreman_daemon::Transient>();
        text.push(error.to_string());
        next = error.source();
    }
    (transient, text.join(": "))
}
