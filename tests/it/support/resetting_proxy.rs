use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreman_daemon::Daemon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::raw::header;

/// Where the connection of a submission is reset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cut {
    Nowhere,
    /// After the head of the request. The daemon receives nothing.
    BeforeBody,
    /// The daemon has responded. The client receives nothing.
    BeforeResponse,
    /// The client receives all but the last bytes of the response.
    WithinResponse,
}

/// A TCP proxy that forwards one request per connection and can reset the connection of a submission.
pub(crate) struct ResettingProxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    cuts: Mutex<VecDeque<Cut>>,
    posts: Mutex<usize>,
    strip_keys: bool,
}

impl ResettingProxy {
    /// With `strip_keys` the daemon appears to have no idempotency keys.
    pub(crate) async fn start(daemon: &Daemon, strip_keys: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { strip_keys, ..Shared::default() });
        let (daemon, serving) = (daemon.local_addr(), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&serving);
                connections.spawn(async move { forward(client, daemon, &shared).await });
            }
        });
        Self { url, shared, task }
    }

    /// Resets the connection of the next submission.
    pub(crate) fn cut(&self, cut: Cut) {
        self.shared.cuts.lock().unwrap().push_back(cut);
    }

    /// How many submissions have arrived.
    pub(crate) fn posts(&self) -> usize {
        *self.shared.posts.lock().unwrap()
    }
}

impl Drop for ResettingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards one request and its response. An error means that one side has closed its connection.
async fn forward(mut client: TcpStream, daemon: SocketAddr, shared: &Shared) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        // Byte by byte, so that none of the body is read.
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

    let is_kept = |line: &&str| !(shared.strip_keys && line.to_ascii_lowercase().starts_with("idempotency-key:"));
    let lines: Vec<&str> = head.trim_end().split("\r\n").filter(is_kept).collect();
    let mut server = TcpStream::connect(daemon).await?;
    server.write_all(format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n")).as_bytes()).await?;
    server.write_all(&body).await?;
    let mut response = Vec::new();
    server.read_to_end(&mut response).await?;
    match cut {
        Cut::BeforeResponse => return reset(client),
        Cut::WithinResponse => {
            client.write_all(&response[..response.len() - 3]).await?;
            return reset(client);
        }
        Cut::Nowhere | Cut::BeforeBody => client.write_all(&response).await?,
    }
    client.shutdown().await
}

/// Closes the connection with RST instead of FIN.
fn reset(client: TcpStream) -> io::Result<()> {
    #[allow(deprecated, reason = "what is to be used instead is not in the oldest tokio that is supported")]
    client.set_linger(Some(Duration::ZERO))?;
    drop(client);
    Ok(())
}
