//! The methods.

use std::pin::Pin;

use foreman_client::retry::Reattach;
use foreman_client::tonic::{JOB_ID, MAY_BE_RUNNING, PUSHBACK, deadline};
use foreman_client::{Client, Error, JobId, JobResult, Message, States, Submission, SubmitRequest};
use futures_util::StreamExt as _;
use futures_util::future::{MaybeDone, maybe_done};
use futures_util::stream::{BoxStream, unfold};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt as _};

use super::proto::{AttachRequest, ChatEvent, ChatReply, ChatRequest, Event};

#[derive(Clone)]
pub(super) struct Chat {
    pub(super) client: Client,
    /// One for all calls, each of which has a stack of its own.
    pub(super) limit: GlobalConcurrencyLimitLayer,
    pub(super) reattach: Reattach,
    pub(super) stop: Stop,
}

/// How it stops: nothing new, then nothing that waits, then nothing at all.
#[derive(Clone, Default)]
pub(super) struct Stop {
    pub(super) closing: CancellationToken,
    pub(super) detach: CancellationToken,
    pub(super) done: CancellationToken,
    pub(super) waits: TaskTracker,
}

/// A future that gives the finished job.
trait Job: Future<Output = Result<JobResult, Error>> + Send + 'static {}
impl<F: Future<Output = Result<JobResult, Error>> + Send + 'static> Job for F {}

impl Chat {
    /// Waits, and answers the job's result. A caller that goes away leaves the job to the drop policy.
    pub(super) async fn whole(self, request: Request<ChatRequest>) -> Result<Response<ChatReply>, Status> {
        let _wait = self.open()?;
        let (metadata, _, chat) = request.into_parts();
        let request = submission(&chat)?;
        let submission = request.submission();
        tokio::select! {
            job = self.job(request, &metadata) => reply(job).map_err(|status| about(status, submission.job_id().as_ref())),
            () = self.stop.detach.cancelled() => Err(detached(submission.job_id().as_ref())),
        }
        .map(Response::new)
    }

    /// Waits for a job that runs already: for a caller that was cut off, or whose time was too short.
    pub(super) async fn attach(self, request: Request<AttachRequest>) -> Result<Response<ChatReply>, Status> {
        let _wait = self.open()?;
        let jobs = self.client.jobs().with_deadline(deadline(request.metadata()));
        let id = JobId::new(&request.get_ref().job_id).map_err(Error::from)?;
        tokio::select! {
            job = jobs.oneshot(id.clone()) => reply(job),
            () = self.stop.detach.cancelled() => Err(detached(Some(&id))),
        }
        .map(Response::new)
    }

    /// The states as they come, and behind them the result or a status. What goes wrong before the daemon has taken the job is
    /// a status in place of the stream.
    pub(super) async fn events(
        self,
        request: Request<ChatRequest>,
    ) -> Result<Response<BoxStream<'static, Result<ChatEvent, Status>>>, Status> {
        let wait = self.open()?;
        let (metadata, _, chat) = request.into_parts();
        let request = submission(&chat)?;
        let submission = request.submission();
        let states = submission.states();
        let mut job = Box::pin(maybe_done(self.job(request, &metadata)));
        let detach = self.stop.detach;
        tokio::select! {
            () = job.as_mut() => {}
            _ = submission.accepted() => {}
            () = detach.cancelled() => return Err(detached(None)),
        }
        let Some(id) = submission.job_id() else {
            job.as_mut().await;
            return Err(job.as_mut().take_output().and_then(|job| reply(job).err()).unwrap_or_else(|| detached(None)));
        };
        let mut response = Response::new(Progress { states, job, submission, detach, _wait: wait }.events().boxed());
        if let Ok(id) = MetadataValue::try_from(id.as_str()) {
            response.metadata_mut().insert(JOB_ID, id);
        }
        Ok(response)
    }

    /// The wait, with the caller's time for a deadline, so that it ends in time to say which job goes on; tonic's own time-out
    /// would only say that the time is over. A stack for each call: a rate limit, which is a counter, would go into a `Buffer`
    /// in front of the whole server.
    fn job(&self, request: SubmitRequest, metadata: &MetadataMap) -> impl Job + use<> {
        ServiceBuilder::new()
            .map_err(Error::from_boxed)
            .load_shed()
            .layer(self.limit.clone())
            .retry(self.reattach.clone())
            .service(self.client.jobs().with_deadline(deadline(metadata)))
            .oneshot(request)
    }

    /// The place of a wait among those that a stop waits for, unless it stops already.
    fn open(&self) -> Result<TaskTrackerToken, Status> {
        // Taken first: a stop that comes in between waits for it.
        let wait = self.stop.waits.token();
        if self.stop.closing.is_cancelled() {
            let mut status = Status::unavailable("stopping: nothing was submitted");
            status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static("1000"));
            return Err(status);
        }
        Ok(wait)
    }
}

/// A job whose states are told while it is waited for.
struct Progress<F: Future> {
    states: States,
    job: Pin<Box<MaybeDone<F>>>,
    submission: Submission,
    detach: CancellationToken,
    _wait: TaskTrackerToken,
}

impl<F: Job> Progress<F> {
    fn events(self) -> impl futures_util::Stream<Item = Result<ChatEvent, Status>> + Send {
        unfold(Some(self), async |progress| {
            let mut progress = progress?;
            let (event, progress) = match progress.next().await {
                Some(state) => (Ok(state), Some(progress)),
                None => (progress.end().await, None),
            };
            Some((event.map(|event| ChatEvent { event: Some(event) }), progress))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        let change = tokio::select! {
            biased;
            change = self.states.next() => change,
            // The wait is over, and so are the states when the last of them was told.
            () = self.job.as_mut() => self.states.next().await,
            () = self.detach.cancelled() => None,
        };
        Some(Event::State(change?.state.to_string()))
    }

    async fn end(&mut self) -> Result<Event, Status> {
        let job = tokio::select! {
            biased;
            () = self.job.as_mut() => self.job.as_mut().take_output(),
            () = self.detach.cancelled() => None,
        };
        let id = self.submission.job_id();
        match job {
            Some(job) => reply(job).map(Event::Result).map_err(|status| about(status, id.as_ref())),
            None => Err(detached(id.as_ref())),
        }
    }
}

fn submission(chat: &ChatRequest) -> Result<SubmitRequest, Status> {
    let messages: Vec<Message> =
        chat.messages.iter().map(Message::from_json).collect::<Result<_, _>>().map_err(Error::from)?;
    let mut request = SubmitRequest::builder(&chat.model).messages(messages);
    if let Some(options) = &chat.options {
        let options: &RawValue = serde_json::from_str(options)
            .map_err(|error| Status::invalid_argument(format!("the request is invalid: options: {error}")))?;
        request = request.options(options);
    }
    Ok(request.build()?)
}

fn reply(job: Result<JobResult, Error>) -> Result<ChatReply, Status> {
    let job = job.and_then(JobResult::into_success)?;
    let result = job.result.as_deref().map_or("null", RawValue::get).to_owned();
    Ok(ChatReply { job_id: job.job_id.to_string(), result })
}

/// An error of a layer knows no job; the submission does.
fn about(mut status: Status, job_id: Option<&JobId>) -> Status {
    if let Some(id) = job_id.and_then(|id| MetadataValue::try_from(id.as_str()).ok()) {
        status.metadata_mut().insert(JOB_ID, id);
    }
    status
}

/// A stop ended the wait, and not the job. Not `UNAVAILABLE`, after which callers repeat by themselves: that would be another job.
fn detached(job_id: Option<&JobId>) -> Status {
    tracing::info!(job_id = job_id.map(JobId::as_str), "a job goes on without its caller");
    let mut status = Status::new(Code::Cancelled, "stopping: the job goes on");
    status.metadata_mut().insert(MAY_BE_RUNNING, MetadataValue::from_static("true"));
    about(status, job_id)
}
