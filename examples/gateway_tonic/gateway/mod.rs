//! A gateway with gRPC callers. A method waits for the job of its request.

mod chat;
#[allow(clippy::duplicate_mod, reason = "the tests include both gateways")]
#[path = "../../common/progress.rs"]
mod progress;
pub(crate) mod proto;
#[allow(clippy::duplicate_mod, reason = "the tests include both gateways")]
#[path = "../../common/stop.rs"]
mod stop;

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

use self::chat::Chat;
use self::proto::ChatServer;
use self::stop::Stop;

/// How long a shutdown waits for callers to close their connections.
const FLUSH: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) daemon: String,
    pub(crate) token: Option<String>,
    /// The secret that signs the daemon's webhooks.
    pub(crate) webhook_secret: Option<String>,
    pub(crate) listen: SocketAddr,
    /// Limit of concurrent jobs. Requests beyond it are shed.
    pub(crate) jobs: usize,
    /// How long a caller waits for a job, unless `grpc-timeout` is shorter.
    pub(crate) deadline: Duration,
    pub(crate) reattach: Reattach,
    pub(crate) on_drop: DropPolicy,
    /// How long a shutdown waits for jobs.
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

        // The client binds a webhook listener of its own.
        let mut client = Client::builder(settings.daemon);
        client = client.deadline(settings.deadline).on_drop(settings.on_drop);
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
        // tonic has no timeout for the first bytes of a connection and no limit of connections. A
        // gateway on a public network needs a proxy that has both.
        let done = stop.done().clone().cancelled_owned();
        let server = Server::builder()
            // Detects callers that have vanished, so that their permits are released.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .max_concurrent_streams(1_024)
            .add_service(ChatServer(chat))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), done);
        Ok(Self { address, client, drain: settings.drain, stop, server: tokio::spawn(server) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Rejects new jobs and waits up to the drain time for the current ones. Then the remaining
    /// callers get `CANCELLED` with the id of their job.
    pub(crate) async fn shutdown(mut self) -> Result<(), BoxError> {
        self.stop.drain(self.drain).await;
        // tonic waits until every caller has closed its connection.
        match timeout(FLUSH, &mut self.server).await {
            Ok(served) => Ok(served??),
            Err(_) => {
                self.server.abort();
                Ok(())
            }
        }
    }
}
