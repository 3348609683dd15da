//! A webhook receiver with scripted responses.

use std::collections::VecDeque;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::raw::header;

pub(crate) struct Receiver {
    pub(crate) url: String,
    events: UnboundedReceiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Event {
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.head, name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn state(&self) -> String {
        self.json()["state"].as_str().unwrap().to_owned()
    }
}

impl Receiver {
    /// Responds with these status lines in turn, then with 204. An empty one closes the connection.
    pub(crate) async fn start(responses: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
        let (sender, events) = unbounded_channel();
        let task = tokio::spawn(receive(listener, None, responses.iter().copied().collect(), sender));
        Self { url, events, task }
    }

    /// A receiver at `https://localhost` that responds with 204.
    pub(crate) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
        let (sender, events) = unbounded_channel();
        let task = tokio::spawn(receive(listener, Some(acceptor), VecDeque::new(), sender));
        Self { url, events, task }
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.events.recv().await.unwrap()
    }

    /// The states of the next events.
    pub(crate) async fn states(&mut self, count: usize) -> Vec<String> {
        let mut states = Vec::new();
        for _ in 0..count {
            states.push(self.event().await.state());
        }
        states
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn receive(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut responses: VecDeque<&'static str>,
    sender: UnboundedSender<Event>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream: Box<dyn Stream> = match &tls {
            None => Box::new(stream),
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => Box::new(stream),
                // The sender does not trust the certificate.
                Err(_) => continue,
            },
        };
        let event = read(&mut stream).await;
        let response = responses.pop_front().unwrap_or("204 No Content");
        let _ = sender.send(event);
        if !response.is_empty() {
            let response = format!("HTTP/1.1 {response}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Event {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "incomplete request");
        let text = std::str::from_utf8(&bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if body.len() == header(head, "content-length").unwrap().parse::<usize>().unwrap() {
            return Event { head: head.to_owned(), body: body.to_owned() };
        }
    }
}
