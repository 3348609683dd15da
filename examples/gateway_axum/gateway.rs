//! A gateway with HTTP callers. A handler waits for the job of its request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, header::LOCATION};
use axum::response::Response;
use axum::routing::{get, post};
use foreman_client::axum08::{JOB_ID, events, handle_error, webhooks};
use foreman_client::retry::Reattach;
use foreman_client::wait::{JobErrorsLayer, Progress};
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, Client, ClientBuilder, Error, JobId, JobResult, Notifier, SubmitRequest};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

const WEBHOOKS: &str = "/foreman";

pub(crate) struct Settings {
    /// With the daemon, the token, the deadline and the drop policy.
    pub(crate) client: ClientBuilder,
    /// The secret that signs the daemon's webhooks.
    pub(crate) webhook_secret: Option<String>,
    pub(crate) listen: SocketAddr,
    /// The URL by which the daemon reaches this gateway. By default its own address.
    pub(crate) public_url: Option<String>,
    /// Limits of concurrent HTTP requests and jobs. Requests beyond them are shed.
    pub(crate) requests: usize,
    pub(crate) jobs: usize,
    /// Limit of new jobs per second. Requests beyond it wait.
    pub(crate) jobs_per_second: u64,
    pub(crate) reattach: Reattach,
    /// How long a shutdown waits for jobs.
    pub(crate) drain: Duration,
}

impl Settings {
    pub(crate) fn new(client: ClientBuilder) -> Self {
        Self {
            client: client.deadline(Duration::from_secs(600)),
            webhook_secret: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
            requests: 1_024,
            jobs: 256,
            jobs_per_second: 50,
            reattach: Reattach::default(),
            drain: Duration::from_secs(25),
        }
    }
}

#[derive(Clone)]
struct App {
    client: Client,
    /// The stack of the handlers. Clones share its limits.
    jobs: BoxCloneSyncService<SubmitRequest, JobResult, Error>,
}

/// `POST /chat`: waits for the job. If the caller disconnects, the drop policy applies to the job.
async fn chat(State(app): State<App>, request: SubmitRequest) -> Result<JobResult, Error> {
    app.jobs.oneshot(request).await
}

/// `POST /chat/events`: server-sent events. A failure before the daemon has accepted the job is a
/// response with a status of its own.
async fn chat_events(State(app): State<App>, request: SubmitRequest) -> Result<Response, Error> {
    let submission = request.submission();
    events(Progress::new(&submission, app.jobs.oneshot(request))).await
}

/// `GET /jobs/{id}`: waits again, for callers that were disconnected or got 504. Any caller that
/// knows the id of a job gets its result.
async fn attach(State(app): State<App>, Path(id): Path<String>) -> Result<JobResult, Error> {
    app.client.wait(&JobId::new(id)?).await
}

/// Every response about a job says where the caller can wait for it again.
async fn locate(mut response: Response) -> Response {
    let id = response.headers().get(JOB_ID).and_then(|id| id.to_str().ok());
    if let Some(Ok(location)) = id.map(|id| HeaderValue::try_from(format!("/jobs/{id}"))) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
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
        .route("/chat", post(chat))
        .route("/chat/events", post(chat_events))
        .route("/jobs/{id}", get(attach))
        .layer(axum::middleware::map_response(locate))
        .layer(DefaultBodyLimit::max(8 << 20))
        .layer(layers)
        .with_state(app)
}

/// `axum::serve` with a time limit for the head of a request, a limit of connections, and a bounded
/// shutdown.
async fn serve(listener: TcpListener, router: Router, mut stop: oneshot::Receiver<()>) {
    let (permits, graceful) = (Arc::new(Semaphore::new(4_096)), GracefulShutdown::new());
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let (permit, accepted) = tokio::select! {
            _ = &mut stop => break,
            accepted = async { (permit.await, listener.accept().await) } => accepted,
        };
        // The system has no file descriptors, for example.
        let Ok((stream, _)) = accepted else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut http = http1::Builder::new();
        // For the head of a request, and for idle connections.
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
        let service = TowerToHyperService::new(router.clone());
        let served = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move { (served.await, permit) });
    }
    drop(listener);
    // For the last responses.
    let _ = timeout(Duration::from_secs(2), graceful.shutdown()).await;
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    drain: Duration,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Result<Self, BoxError> {
        // Bound first, since the daemon gets the address in the callback URL.
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let url = settings.public_url.unwrap_or_else(|| format!("http://{address}"));
        let notifier = Notifier::new();
        let mut receiver = WebhookReceiver::builder(notifier.clone());
        if let Some(secret) = settings.webhook_secret {
            receiver = receiver.secret(secret);
        }
        let webhook_url = format!("{url}{WEBHOOKS}");
        let client = settings.client.notifier(notifier).public_url(webhook_url).build().await?;
        let jobs = ServiceBuilder::new()
            .layer(JobErrorsLayer::new())
            .load_shed()
            // Clones share one semaphore. It is above the buffer, so that it counts waiting requests.
            .concurrency_limit(settings.jobs)
            // A rate limit cannot be cloned. The buffer shares it.
            .buffer(settings.jobs)
            .rate_limit(settings.jobs_per_second, Duration::from_secs(1))
            .retry(settings.reattach)
            .service(client.jobs());
        let app = App { client: client.clone(), jobs: BoxCloneSyncService::new(jobs) };
        // Webhooks bypass the limits, since they end the waits.
        let router = api(app, settings.requests).merge(webhooks(WEBHOOKS, receiver.build()?));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, router, stopped));
        Ok(Self { address, client, drain: settings.drain, stop, server })
    }

    /// Refuses new jobs and waits up to the drain time for the current ones. Then the remaining
    /// callers get 504 with the id of their job. The listener stays open that long, since webhooks
    /// arrive there.
    pub(crate) async fn shutdown(self) -> Result<(), BoxError> {
        let running = self.client.shutdown(self.drain).await;
        tracing::info!(?running, "stopped");
        drop(self.stop);
        Ok(self.server.await?)
    }
}
