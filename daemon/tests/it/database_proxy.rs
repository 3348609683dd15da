//! A proxy between a daemon and its database, which can stop to forward without closing a connection, as a network does.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Which direction the proxy forwards.
#[derive(Debug, Clone, Copy)]
struct Flow {
    /// Whether there are connections.
    connects: bool,
    requests: bool,
    responses: bool,
}

pub(crate) struct DatabaseProxy {
    folder: TempDir,
    flow: watch::Sender<Flow>,
    connections: Arc<Mutex<JoinSet<()>>>,
    /// Dropping the set closes the listener.
    _listener: JoinSet<()>,
}

impl DatabaseProxy {
    /// Starts a proxy in front of the server of this URL.
    pub(crate) fn start(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let server = PathBuf::from(host(url).replace("%2F", "/")).join(".s.PGSQL.5432");
        let (flow, flowing) = watch::channel(Flow { connects: true, requests: true, responses: true });
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let (mut listening, open) = (JoinSet::new(), Arc::clone(&connections));
        listening.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                open.lock().unwrap().spawn(connection(client, server.clone(), flowing.clone()));
            }
        });
        Self { folder, flow, connections, _listener: listening }
    }

    /// The URL through the proxy.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(host(url), &self.folder.path().display().to_string().replace('/', "%2F"))
    }

    /// Forwards nothing more. What was sent is forwarded later.
    pub(crate) fn cut_off(&self) {
        self.flow.send_replace(Flow { connects: true, requests: false, responses: false });
    }

    /// Forwards requests, and no responses.
    pub(crate) fn hold_responses(&self) {
        self.flow.send_replace(Flow { connects: true, requests: true, responses: false });
    }

    /// Closes all connections. What was not forwarded is lost.
    pub(crate) fn close_connections(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// As if the server were away: closes all connections, and new ones at once.
    pub(crate) fn refuse_connections(&self) {
        self.flow.send_replace(Flow { connects: false, requests: false, responses: false });
        self.close_connections();
    }

    pub(crate) fn restore(&self) {
        self.flow.send_replace(Flow { connects: true, requests: true, responses: true });
    }
}

fn host(url: &str) -> &str {
    url.split_once('@').unwrap().1.split_once('/').unwrap().0
}

async fn connection(client: UnixStream, server: PathBuf, mut flow: watch::Receiver<Flow>) {
    if !flow.borrow().connects {
        return;
    }
    // While the server is away, the connection closes at once.
    let Ok(server) = UnixStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut other = flow.clone();
    tokio::join!(
        forward(from_client, to_server, &mut flow, |flow| flow.requests),
        forward(from_server, to_client, &mut other, |flow| flow.responses),
    );
}

/// Forwards one direction, its end included.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    flow: &mut watch::Receiver<Flow>,
    flows: impl Fn(&Flow) -> bool,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if flow.wait_for(&flows).await.is_err() {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            // The other side may have closed already.
            let _ = to.shutdown().await;
            return;
        }
    }
}
