//! A way to a daemon that can be cut.

use std::net::SocketAddr;

use tokio::io::{AsyncWriteExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Connections are closed, those that come and those that are there.
    Cut,
    /// What is asked arrives; what is answered does not.
    AnswersLost,
}

pub(crate) struct Forwarder {
    address: SocketAddr,
    way: watch::Sender<Way>,
    _tasks: JoinSet<()>,
}

impl Forwarder {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, seen) = watch::channel(Way::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(forward(stream, target, seen.clone()));
            }
        });
        Self { address, way, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub(crate) fn restore(&self) {
        self.way.send_replace(Way::Open);
    }

    pub(crate) fn lose_answers(&self) {
        self.way.send_replace(Way::AnswersLost);
    }
}

async fn forward(mut near: TcpStream, target: SocketAddr, mut seen: watch::Receiver<Way>) {
    let way = *seen.borrow_and_update();
    if way == Way::Cut {
        return;
    }
    let mut far = TcpStream::connect(target).await.unwrap();
    if way == Way::Open {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            _ = seen.wait_for(|way| *way == Way::Cut) => {}
        }
        return;
    }
    let ((mut asks, _answers), (hears, mut asked)) = (near.split(), far.split());
    tokio::select! {
        _ = copy(&mut asks, &mut asked) => {}
        // The daemon has answered.
        _ = hears.readable() => {}
    }
    let _ = asked.shutdown().await;
}
