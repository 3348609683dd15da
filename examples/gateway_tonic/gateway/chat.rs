//! The methods.

use foreman_client::retry::Reattach;
use foreman_client::tonic014::{JOB_ID, MAY_BE_RUNNING, PUSHBACK, deadline};
use foreman_client::{Client, Error, JobId, JobResult, Message, SubmitRequest};
use futures_util::StreamExt as _;
use futures_util::future::maybe_done;
use futures_util::stream::BoxStream;
use serde_json::value::RawValue;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt as _};

use super::progress::{Progress, Watched};
use super::proto::{AttachRequest, ChatEvent, ChatReply, ChatRequest, Event};
use super::stop::Stop;

#[derive(Clone)]
pub(super) struct Chat {
    pub(super) client: Client,
    /// Shared by all calls, each of which has a stack of its own.
    pub(super) limit: GlobalConcurrencyLimitLayer,
    pub(super) reattach: Reattach,
    pub(super) stop: Stop,
}

/// A future that returns the finished job.
trait Job: Future<Output = Result<JobResult, Error>> + Send + 'static {}
impl<F: Future<Output = Result<JobResult, Error>> + Send + 'static> Job for F {}

type GrpcResult<T> = Result<Response<T>, Status>;
type Events = BoxStream<'static, Result<ChatEvent, Status>>;

impl Chat {
    /// Waits for the job and returns its result. If the caller disconnects, the drop policy
    /// applies to the job.
    pub(super) async fn unary(self, request: Request<ChatRequest>) -> GrpcResult<ChatReply> {
        let _wait = self.register()?;
        let (metadata, _, chat) = request.into_parts();
        let request = submission(&chat)?;
        let submission = request.submission();
        let reply = tokio::select! {
            job = self.job(request, &metadata) => reply(job),
            () = self.stop.detach().cancelled() => Err(detached(submission.job_id().as_ref())),
        };
        // The error of a layer has no job id. The submission has it.
        let reply = reply.map_err(|status| with_job_id(status, submission.job_id().as_ref()))?;
        Ok(Response::new(reply))
    }

    /// Waits for a running job. It is for callers that were disconnected or whose deadline has
    /// expired.
    pub(super) async fn attach(self, request: Request<AttachRequest>) -> GrpcResult<ChatReply> {
        let _wait = self.register()?;
        let jobs = self.client.jobs().with_deadline(deadline(request.metadata()));
        let id = JobId::new(&request.get_ref().job_id).map_err(Error::from)?;
        let reply = tokio::select! {
            job = jobs.attach().oneshot(id.clone()) => reply(job),
            () = self.stop.detach().cancelled() => Err(detached(Some(&id))),
        };
        Ok(Response::new(reply?))
    }

    /// Streams the states of the job, then its result or a status. A failure before the daemon has
    /// accepted the job is a status instead of the stream.
    pub(super) async fn events(self, request: Request<ChatRequest>) -> GrpcResult<Events> {
        let wait = self.register()?;
        let (metadata, _, chat) = request.into_parts();
        let request = submission(&chat)?;
        let submission = request.submission();
        let states = submission.states();
        let mut job = Box::pin(maybe_done(self.job(request, &metadata)));
        let detach = self.stop.detach().clone();
        tokio::select! {
            () = job.as_mut() => {}
            _ = submission.accepted() => {}
            () = detach.cancelled() => return Err(detached(None)),
        }
        let Some(id) = submission.job_id() else {
            job.as_mut().await;
            let status = job.as_mut().take_output().and_then(|job| reply(job).err());
            return Err(status.unwrap_or_else(|| detached(None)));
        };
        let progress = Watched { states, job, detach, _wait: wait }.progress();
        let job_id = id.clone();
        let events = progress.map(move |progress| chat_event(progress, &job_id)).boxed();
        let mut response = Response::new(events);
        if let Ok(id) = MetadataValue::try_from(id.as_str()) {
            response.metadata_mut().insert(JOB_ID, id);
        }
        Ok(response)
    }

    /// The wait. Its deadline is the caller's, so that the error has the job id. The status of
    /// tonic's own timeout has none.
    ///
    /// Each call has a stack of its own. A rate limit has to be shared by a `Buffer` around the
    /// server.
    fn job(&self, request: SubmitRequest, metadata: &MetadataMap) -> impl Job + use<> {
        ServiceBuilder::new()
            .map_err(Error::from_boxed)
            .load_shed()
            .layer(self.limit.clone())
            .retry(self.reattach.clone())
            .service(self.client.jobs().with_deadline(deadline(metadata)))
            .oneshot(request)
    }

    /// Registers a wait, unless the gateway is stopping.
    fn register(&self) -> Result<TaskTrackerToken, Status> {
        self.stop.register().ok_or_else(|| {
            let mut status = Status::unavailable("stopping: nothing was submitted");
            status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("1000"));
            status
        })
    }
}

fn chat_event(progress: Progress, id: &JobId) -> Result<ChatEvent, Status> {
    let event = match progress {
        Progress::State(state) => Event::State(state.to_string()),
        Progress::End(Some(job)) => {
            let reply = reply(job).map_err(|status| with_job_id(status, Some(id)));
            Event::Result(reply?)
        }
        Progress::End(None) => return Err(detached(Some(id))),
    };
    Ok(ChatEvent { event: Some(event) })
}

fn submission(chat: &ChatRequest) -> Result<SubmitRequest, Status> {
    let messages: Result<Vec<_>, _> = chat.messages.iter().map(Message::from_json).collect();
    let messages = messages.map_err(Error::from)?;
    let mut request = SubmitRequest::builder(&chat.model).messages(messages);
    if let Some(options) = &chat.options {
        let options: &RawValue = serde_json::from_str(options).map_err(|error| {
            let message = format!("the request is invalid: options: {error}");
            Status::invalid_argument(message)
        })?;
        request = request.options(options);
    }
    Ok(request.build()?)
}

fn reply(job: Result<JobResult, Error>) -> Result<ChatReply, Status> {
    let job = job.and_then(JobResult::into_success)?;
    let result = job.json().map_or("null", RawValue::get).to_owned();
    Ok(ChatReply { job_id: job.job_id().to_string(), result })
}

fn with_job_id(mut status: Status, job_id: Option<&JobId>) -> Status {
    if let Some(id) = job_id.and_then(|id| MetadataValue::try_from(id.as_str()).ok()) {
        status.metadata_mut().insert(JOB_ID, id);
    }
    status
}

/// The gateway stops and the job continues. The code is not `UNAVAILABLE`, after which callers
/// retry by themselves: that would be another job.
fn detached(job_id: Option<&JobId>) -> Status {
    tracing::info!(job_id = job_id.map(JobId::as_str), "job continues without its caller");
    let mut status = Status::new(Code::Cancelled, "stopping: the job continues");
    status.metadata_mut().insert(MAY_BE_RUNNING, MetadataValue::from_static("true"));
    with_job_id(status, job_id)
}
