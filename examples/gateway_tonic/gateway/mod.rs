//! A gateway: gRPC callers on one side, a job daemon on the other, and the wait in between.

mod chat;
pub(crate) mod proto;

use std::net::SocketAddr;
use std::time::Duration;

use foreman_client::retry::Reattach;
use foreman_client::{BoxError, Client, DropPolicy};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::limit::GlobalConcurrencyLimitLayer;

use self::chat::{Chat, Stop};
use self::proto::ChatServer;

/// For the answers that are on their way when it stops.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) daemon: String,
    pub(crate) token: Option<String>,
    /// What the daemon signs its events with.
    pub(crate) webhook_secret: Option<String>,
    pub(crate) listen: SocketAddr,
    /// Jobs that are waited for at once; over it callers are turned away.
    pub(crate) jobs: usize,
    /// How long one caller waits for one job; the caller's own time, if it is shorter.
    pub(crate) deadline: Duration,
    pub(crate) reattach: Reattach,
    pub(crate) on_drop: DropPolicy,
    /// How long a stop waits for the jobs that are waited for.
    pub(crate) drain: Duration,
}

impl Settings {
    pub(crate) fn new(daemon: impl Into<String>) -> Self {
        Self {
            daemon: daemon.into(),
            token: None,
            webhook_secret: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            jobs: 256,
            deadline: Duration::from_secs(600),
            reattach: Reattach::default(),
            on_drop: DropPolicy::Detach,
            drain: Duration::from_secs(25),
        }
    }
}

pub(crate) struct Gateway {
    address: SocketAddr,
    client: Client,
    drain: Duration,
    stop: Stop,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;

        // Events come in at a listener of the client's own.
        let mut client = Client::builder(settings.daemon).deadline(settings.deadline).on_drop(settings.on_drop);
        if let Some(secret) = settings.webhook_secret {
            client = client.webhook_secret(secret);
        }
        if let Some(token) = settings.token {
            client = client.token(token);
        }
        let client = client.build().await?;

        let stop = Stop::default();
        let chat = Chat {
            client: client.clone(),
            limit: GlobalConcurrencyLimitLayer::new(settings.jobs),
            reattach: settings.reattach,
            stop: stop.clone(),
        };
        // tonic has neither a time for the first bytes of a connection nor a cap on connections: where strangers reach it, a proxy
        // in front has to have both.
        let server = Server::builder()
            // A caller whose machine has gone is noticed, and its place is free again.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .max_concurrent_streams(1_024)
            .add_service(ChatServer(chat))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.done.clone().cancelled_owned());
        Ok(Self { address, client, drain: settings.drain, stop, server: tokio::spawn(server) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Stops: new jobs are refused, those that are waited for have the drain time to end, and then their callers are told which
    /// job goes on without them.
    pub(crate) async fn shutdown(mut self) -> Result<(), BoxError> {
        self.stop.closing.cancel();
        self.stop.waits.close();
        if timeout(self.drain, self.stop.waits.wait()).await.is_err() {
            tracing::info!(waits = self.stop.waits.len(), "the drain time is over");
        }
        self.stop.detach.cancel();
        self.stop.done.cancel();
        // tonic waits until every caller has closed its connection.
        match timeout(FAREWELL, &mut self.server).await {
            Ok(served) => Ok(served??),
            Err(_) => {
                self.server.abort();
                Ok(())
            }
        }
    }
}
