//! A gateway with gRPC callers. A method waits for the job of its request.

use std::net::SocketAddr;
use std::time::Duration;

use foreman_client::retry::Reattach;
use foreman_client::tonic014::{JOB_ID, deadline};
use foreman_client::wait::{JobErrorsLayer, Progress, Update};
use foreman_client::{BoxError, Client, ClientBuilder, Error, JobId, JobResult, Message, SubmitRequest};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt as _};

use super::proto::{AttachRequest, ChatEvent, ChatReply, ChatRequest, ChatServer, Event};

/// How long a shutdown waits for callers to close their connections.
const FLUSH: Duration = Duration::from_secs(2);

pub(crate) struct Settings {
    /// With the daemon, the token, the webhook secret, the deadline and the drop policy. It binds a
    /// webhook listener of its own.
    pub(crate) client: ClientBuilder,
    pub(crate) listen: SocketAddr,
    /// Limit of concurrent jobs. Requests beyond it are shed.
    pub(crate) jobs: usize,
    pub(crate) reattach: Reattach,
    /// How long a shutdown waits for jobs.
    pub(crate) drain: Duration,
}

impl Settings {
    pub(crate) fn new(client: ClientBuilder) -> Self {
        Self {
            client: client.deadline(Duration::from_secs(600)),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            jobs: 256,
            reattach: Reattach::default(),
            drain: Duration::from_secs(25),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Chat {
    client: Client,
    /// Shared by all calls, each of which has a stack of its own.
    limit: GlobalConcurrencyLimitLayer,
    reattach: Reattach,
}

type GrpcResult<T> = Result<Response<T>, Status>;

impl Chat {
    /// Waits for the job and returns its result. If the caller disconnects, the drop policy applies
    /// to the job.
    pub(crate) async fn unary(self, request: Request<ChatRequest>) -> GrpcResult<ChatReply> {
        let job = self.job(submission(&request)?).await;
        Ok(Response::new(reply(job?)?))
    }

    /// Waits for a running job. It is for callers that were disconnected or whose deadline has
    /// expired.
    pub(crate) async fn attach(self, request: Request<AttachRequest>) -> GrpcResult<ChatReply> {
        let jobs = self.client.attach().with_deadline(deadline(request.metadata()));
        let id = JobId::new(&request.get_ref().job_id).map_err(Error::from)?;
        Ok(Response::new(reply(jobs.oneshot(id).await?)?))
    }

    /// Streams the states of the job, then its result or a status. A failure before the daemon has
    /// accepted the job is a status instead of the stream.
    pub(crate) async fn events(
        self,
        request: Request<ChatRequest>,
    ) -> GrpcResult<BoxStream<'static, Result<ChatEvent, Status>>> {
        let request = submission(&request)?;
        let submission = request.submission();
        let mut progress = Box::pin(Progress::new(&submission, self.job(request)));
        let id = progress.as_mut().accepted().await?;
        let mut response = Response::new(progress.map(event).boxed());
        if let Ok(id) = MetadataValue::try_from(id.as_str()) {
            response.metadata_mut().insert(JOB_ID, id);
        }
        Ok(response)
    }

    /// The wait. A rate limit has to be shared by a `Buffer` around the server.
    fn job(&self, request: SubmitRequest) -> impl Future<Output = Result<JobResult, Error>> + Send + use<> {
        ServiceBuilder::new()
            .layer(JobErrorsLayer::new())
            .load_shed()
            .layer(self.limit.clone())
            .retry(self.reattach.clone())
            .service(self.client.jobs())
            .oneshot(request)
    }
}

/// The deadline of the submission is the caller's, so that the error has the job id. The status of
/// tonic's own timeout has none.
fn submission(request: &Request<ChatRequest>) -> Result<SubmitRequest, Status> {
    let chat = request.get_ref();
    let messages: Result<Vec<_>, _> = chat.messages.iter().map(Message::from_json).collect();
    let mut submission = SubmitRequest::builder(&chat.model).messages(messages.map_err(Error::from)?);
    if let Some(options) = &chat.options {
        let invalid = |error| format!("the request is invalid: options: {error}");
        let options: &RawValue =
            serde_json::from_str(options).map_err(|error| Status::invalid_argument(invalid(error)))?;
        submission = submission.options(options);
    }
    Ok(submission.build()?.with_deadline(deadline(request.metadata())))
}

fn event(update: Result<Update, Error>) -> Result<ChatEvent, Status> {
    let event = match update? {
        Update::State(change) => Event::State(change.state.to_string()),
        Update::Finished(job) => Event::Result(reply(job)?),
    };
    Ok(ChatEvent { event: Some(event) })
}

fn reply(job: JobResult) -> Result<ChatReply, Status> {
    let job = job.into_success()?;
    let result = job.json().map_or("null", RawValue::get).to_owned();
    Ok(ChatReply { job_id: job.job_id().to_string(), result })
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    drain: Duration,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Gateway {
    pub(crate) async fn start(settings: Settings) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let client = settings.client.build().await?;
        let limit = GlobalConcurrencyLimitLayer::new(settings.jobs);
        let chat = Chat { client: client.clone(), limit, reattach: settings.reattach };
        let (stop, stopped) = oneshot::channel::<()>();
        // tonic has no timeout for the first bytes of a connection and no limit of connections. A
        // gateway on a public network needs a proxy that has both.
        let server = Server::builder()
            // Detects callers that have vanished, so that their permits are released.
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .max_concurrent_streams(1_024)
            .add_service(ChatServer(chat))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), async { drop(stopped.await) });
        Ok(Self { address, client, drain: settings.drain, stop, server: tokio::spawn(server) })
    }

    /// Refuses new jobs and waits up to the drain time for the current ones. Then the remaining
    /// callers get `CANCELLED` with the id of their job.
    pub(crate) async fn shutdown(mut self) -> Result<(), BoxError> {
        let running = self.client.shutdown(self.drain).await;
        tracing::info!(?running, "stopped");
        drop(self.stop);
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
