use std::net::SocketAddr;

use tokio::io::{AsyncWriteExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Existing and new connections are closed.
    Cut,
    /// The daemon receives requests, and its responses are dropped.
    LoseResponses,
}

/// A TCP forwarder to the daemon that can cut all connections or drop all responses.
pub(crate) struct TcpForwarder {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    _tasks: JoinSet<()>,
}

impl TcpForwarder {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, current) = watch::channel(Mode::Forward);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(forward(stream, target, current.clone()));
            }
        });
        Self { address, mode, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(crate) fn restore(&self) {
        self.mode.send_replace(Mode::Forward);
    }

    pub(crate) fn lose_responses(&self) {
        self.mode.send_replace(Mode::LoseResponses);
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr, mut current: watch::Receiver<Mode>) {
    let mode = *current.borrow_and_update();
    if mode == Mode::Cut {
        return;
    }
    let mut far = TcpStream::connect(target).await.unwrap();
    if mode == Mode::Forward {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            _ = current.wait_for(|mode| *mode == Mode::Cut) => {}
        }
        return;
    }
    let ((mut requests, _unused), (responses, mut daemon)) = (near.split(), far.split());
    tokio::select! {
        _ = copy(&mut requests, &mut daemon) => {}
        // The daemon has responded.
        _ = responses.readable() => {}
    }
    let _ = daemon.shutdown().await;
}
