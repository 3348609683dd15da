//! A gateway: HTTP callers on one side, a job daemon on the other, and the wait in between.

mod chat;
mod serve;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post};
use foreman_client::axum::{handle_error, webhooks};
use foreman_client::retry::Reattach;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, DropPolicy, Error, JobResult, Notifier, SubmitRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

/// Where the daemon's events come in, below the gateway's own address.
const EVENTS: &str = "/foreman";

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) daemon: String,
    pub(crate) token: Option<String>,
    /// What the daemon signs its events with.
    pub(crate) webhook_secret: Option<String>,
    pub(crate) listen: SocketAddr,
    /// Where the daemon reaches this gateway; its own address unless set.
    pub(crate) public_url: Option<String>,
    /// HTTP requests at once, whatever they ask; over it callers are turned away.
    pub(crate) requests: usize,
    /// Jobs that are waited for at once; over it callers are turned away.
    pub(crate) jobs: usize,
    /// New jobs a second; over it callers wait their turn.
    pub(crate) jobs_per_second: u64,
    /// How long one caller waits for one job.
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
            public_url: None,
            requests: 1_024,
            jobs: 256,
            jobs_per_second: 50,
            deadline: Duration::from_secs(600),
            reattach: Reattach::default(),
            on_drop: DropPolicy::Detach,
            drain: Duration::from_secs(25),
        }
    }
}

/// Jobs as the handlers see them: a clone is the same stack, with the same limits.
type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;

#[derive(Clone)]
struct App {
    client: Client,
    jobs: Jobs,
    stop: Stop,
}

/// How it stops: nothing new, then nothing that waits, then nothing at all.
#[derive(Clone, Default)]
struct Stop {
    closing: CancellationToken,
    detach: CancellationToken,
    done: CancellationToken,
    waits: TaskTracker,
}

pub(crate) struct Gateway {
    address: SocketAddr,
    client: Client,
    drain: Duration,
    stop: Stop,
    server: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Result<Self, BoxError> {
        // Bound first: where it listens is in the URL that the daemon gets.
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let public_url = settings.public_url.unwrap_or_else(|| format!("http://{address}"));

        let notifier = Notifier::new();
        let mut receiver = WebhookReceiver::builder(notifier.clone());
        let mut client = Client::builder(settings.daemon)
            .notifier(notifier)
            .public_url(format!("{public_url}{EVENTS}"))
            .deadline(settings.deadline)
            .on_drop(settings.on_drop);
        if let Some(secret) = settings.webhook_secret {
            receiver = receiver.secret(secret);
        }
        if let Some(token) = settings.token {
            client = client.token(token);
        }
        let (receiver, client) = (receiver.build()?, client.build().await?);

        let jobs = ServiceBuilder::new()
            .map_err(Error::from_boxed)
            .load_shed()
            // One semaphore for all clones. It is outside the buffer, so that what waits in there is counted too.
            .concurrency_limit(settings.jobs)
            // A rate is counted in one place, so it cannot be cloned: the buffer shares it.
            .buffer(settings.jobs)
            .rate_limit(settings.jobs_per_second, Duration::from_secs(1))
            // The wait has its own deadline, which says what became of the job. This bounds the attempts together.
            .timeout(settings.deadline.saturating_add(Duration::from_secs(30)))
            .retry(settings.reattach)
            .service(client.jobs());

        let stop = Stop::default();
        let app = App { client: client.clone(), jobs: Jobs::new(jobs), stop: stop.clone() };
        // The events are not behind the limits: they are what makes room.
        let router = api(app, settings.requests).merge(webhooks(EVENTS, receiver));
        let server = tokio::spawn(serve::serve(listener, router, stop.done.clone()));
        Ok(Self { address, client, drain: settings.drain, stop, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Stops: new jobs are refused, those that are waited for have the drain time to end, and then their callers are told with
    /// 503 which job goes on without them. The listener stays open so long, since that is where the jobs' ends come in.
    pub(crate) async fn shutdown(self) -> Result<(), BoxError> {
        self.stop.closing.cancel();
        self.stop.waits.close();
        if timeout(self.drain, self.stop.waits.wait()).await.is_err() {
            tracing::info!(waits = self.stop.waits.len(), "the drain time is over");
        }
        self.stop.detach.cancel();
        self.stop.done.cancel();
        Ok(self.server.await?)
    }
}

fn api(app: App, requests: usize) -> Router {
    let span = |request: &Request| {
        let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
        tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
    };
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(HandleErrorLayer::new(handle_error))
        .load_shed()
        // Routes are layered one by one: a limit that is not global would be one for each.
        .layer(GlobalConcurrencyLimitLayer::new(requests));
    Router::new()
        .route("/chat", post(chat::whole))
        .route("/chat/events", post(chat::events))
        .route("/jobs/{id}", get(chat::attach))
        .layer(DefaultBodyLimit::max(8 * 1024 * 1024))
        .layer(layers)
        .with_state(app)
}
