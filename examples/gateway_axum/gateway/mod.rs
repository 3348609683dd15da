//! A gateway with HTTP callers. A handler waits for the job of its request.

mod chat;
#[allow(clippy::duplicate_mod, reason = "the tests include both gateways")]
#[path = "../../common/progress.rs"]
mod progress;
mod serve;
#[allow(clippy::duplicate_mod, reason = "the tests include both gateways")]
#[path = "../../common/stop.rs"]
mod stop;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post};
use foreman_client::axum08::{handle_error, webhooks};
use foreman_client::retry::Reattach;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, DropPolicy, Error, JobResult, Notifier, SubmitRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use self::stop::Stop;

/// The path of the daemon's webhooks.
const WEBHOOKS: &str = "/foreman";

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) daemon: String,
    pub(crate) token: Option<String>,
    /// The secret that signs the daemon's webhooks.
    pub(crate) webhook_secret: Option<String>,
    pub(crate) listen: SocketAddr,
    /// The URL by which the daemon reaches this gateway. By default its own address.
    pub(crate) public_url: Option<String>,
    /// Limit of concurrent HTTP requests. Requests beyond it are shed.
    pub(crate) requests: usize,
    /// Limit of concurrent jobs. Requests beyond it are shed.
    pub(crate) jobs: usize,
    /// Limit of new jobs per second. Requests beyond it wait.
    pub(crate) jobs_per_second: u64,
    /// How long a caller waits for a job.
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

/// The stack of the handlers. Clones share its limits.
type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;

#[derive(Clone)]
struct App {
    client: Client,
    jobs: Jobs,
    stop: Stop,
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
        // Bound first, since the daemon gets the address in the callback URL.
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let public_url = settings.public_url.unwrap_or_else(|| format!("http://{address}"));

        let notifier = Notifier::new();
        let mut receiver = WebhookReceiver::builder(notifier.clone());
        let mut client = Client::builder(settings.daemon)
            .notifier(notifier)
            .public_url(format!("{public_url}{WEBHOOKS}"))
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
            // Clones share one semaphore. It is above the buffer, so that it counts waiting
            // requests.
            .concurrency_limit(settings.jobs)
            // A rate limit cannot be cloned. The buffer shares it.
            .buffer(settings.jobs)
            .rate_limit(settings.jobs_per_second, Duration::from_secs(1))
            // The wait has a deadline of its own, whose error has the job id. This timeout bounds
            // all attempts together.
            .timeout(settings.deadline.saturating_add(Duration::from_secs(30)))
            .retry(settings.reattach)
            .service(client.jobs());

        let stop = Stop::default();
        let app = App { client: client.clone(), jobs: Jobs::new(jobs), stop: stop.clone() };
        // Webhooks bypass the limits, since they end the waits.
        let router = api(app, settings.requests).merge(webhooks(WEBHOOKS, receiver));
        let server = tokio::spawn(serve::serve(listener, router, stop.done().clone()));
        Ok(Self { address, client, drain: settings.drain, stop, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Rejects new jobs and waits up to the drain time for the current ones. Then the remaining
    /// callers get 503 with the id of their job. The listener stays open that long, since
    /// webhooks arrive there.
    pub(crate) async fn shutdown(self) -> Result<(), BoxError> {
        self.stop.drain(self.drain).await;
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
        // Each route has its own layers. A global limit is shared by all of them.
        .layer(GlobalConcurrencyLimitLayer::new(requests));
    Router::new()
        .route("/chat", post(chat::unary))
        .route("/chat/events", post(chat::events))
        .route("/jobs/{id}", get(chat::attach))
        .layer(DefaultBodyLimit::max(8 * 1024 * 1024))
        .layer(layers)
        .with_state(app)
}
