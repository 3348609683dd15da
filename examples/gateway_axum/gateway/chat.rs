//! The handlers.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use foreman_client::{BoxError, Error, JobId, JobResult, Message, States, Submission, SubmitRequest};
use futures_util::StreamExt as _;
use futures_util::future::{MaybeDone, maybe_done};
use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt as _;

use super::App;

/// In every answer that is about a job, be it a result or a problem.
const JOB_ID: HeaderName = HeaderName::from_static("foreman-job-id");
/// For the body of a request.
const BODY: Duration = Duration::from_secs(30);

/// `POST /chat`: waits, and answers the job's result.
///
/// A caller that goes away leaves the job to the drop policy.
pub(super) async fn whole(State(app): State<App>, request: Request) -> Result<Response, Response> {
    let (request, _wait) = begin(&app, request).await?;
    let submission = request.submission();
    let mut answer = tokio::select! {
        job = app.jobs.oneshot(request) => result(job),
        () = app.stop.detach.cancelled() => detached(submission.job_id().as_ref()),
    };
    // An error of a layer knows no job; the submission does.
    tell(&mut answer, submission.job_id().as_ref());
    Ok(answer)
}

/// `GET /jobs/{id}`: waits for a job that runs already, and answers its result: for a caller that was cut off, by its own fault
/// or with 503 or 504. Whoever knows the id of a job gets its result.
pub(super) async fn attach(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Response> {
    let _wait = open(&app)?;
    let id = JobId::new(id).map_err(|error| Error::from(error).into_response())?;
    let mut answer = tokio::select! {
        job = app.client.jobs().oneshot(id.clone()) => result(job),
        () = app.stop.detach.cancelled() => detached(Some(&id)),
    };
    tell(&mut answer, Some(&id));
    Ok(answer)
}

/// `POST /chat/events`: server-sent events: a `state` for each state of the job, then one `result` or `problem`.
///
/// What goes wrong before the daemon has taken the job is an answer with a status of its own.
pub(super) async fn events(State(app): State<App>, request: Request) -> Result<Response, Response> {
    let (request, wait) = begin(&app, request).await?;
    let submission = request.submission();
    let states = submission.states();
    let mut job = Box::pin(maybe_done(app.jobs.oneshot(request)));
    tokio::select! {
        () = job.as_mut() => {}
        _ = submission.accepted() => {}
        () = app.stop.detach.cancelled() => return Err(detached(None)),
    }
    if submission.job_id().is_none() {
        job.as_mut().await;
        return Err(job.as_mut().take_output().map_or_else(|| detached(None), result));
    }
    let progress = Progress { states, job, submission: submission.clone(), detach: app.stop.detach, _wait: wait };
    let mut answer = Sse::new(progress.events()).keep_alive(KeepAlive::default()).into_response();
    tell(&mut answer, submission.job_id().as_ref());
    Ok(answer)
}

/// A job whose states are told while it is waited for.
struct Progress<F: Future> {
    states: States,
    job: Pin<Box<MaybeDone<F>>>,
    submission: Submission,
    detach: CancellationToken,
    _wait: TaskTrackerToken,
}

impl<F: Future<Output = Result<JobResult, Error>> + Send + 'static> Progress<F> {
    /// The states, and behind them the end.
    fn events(self) -> impl Stream<Item = Result<Event, BoxError>> + Send {
        unfold(Some(self), async |progress| {
            let mut progress = progress?;
            Some(match progress.next().await {
                Some(event) => (event, Some(progress)),
                None => (progress.end().await, None),
            })
        })
    }

    async fn next(&mut self) -> Option<Result<Event, BoxError>> {
        let change = tokio::select! {
            biased;
            change = self.states.next() => change,
            // The wait is over, and so are the states when the last of them was told.
            () = self.job.as_mut() => self.states.next().await,
            () = self.detach.cancelled() => None,
        };
        let state = serde_json::json!({ "state": change?.state });
        Some(Event::default().event("state").json_data(state).map_err(Into::into))
    }

    async fn end(&mut self) -> Result<Event, BoxError> {
        let answer = tokio::select! {
            biased;
            () = self.job.as_mut() => self.job.as_mut().take_output().map(result),
            () = self.detach.cancelled() => None,
        };
        let answer = answer.unwrap_or_else(|| detached(self.submission.job_id().as_ref()));
        let name = if answer.status().is_success() { "result" } else { "problem" };
        let body = to_bytes(answer.into_body(), usize::MAX).await?;
        // JSON that may have line breaks, which events may not.
        let json: &RawValue = serde_json::from_slice(&body)?;
        Ok(Event::default().event(name).json_data(json)?)
    }
}

/// Ollama's chat request. `stream` is not passed on: a job has one result, and its states are told at another route.
#[derive(Deserialize)]
struct Chat {
    model: Option<Box<RawValue>>,
    messages: Option<Box<RawValue>>,
    tools: Option<Box<RawValue>>,
    options: Option<Box<RawValue>>,
    think: Option<Box<RawValue>>,
}

/// The place of a wait among those that a stop waits for, unless it stops already.
#[expect(clippy::result_large_err, reason = "it is the answer")]
fn open(app: &App) -> Result<TaskTrackerToken, Response> {
    // Taken first: a stop that comes in between waits for it.
    let wait = app.stop.waits.token();
    if app.stop.closing.is_cancelled() {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "nothing was submitted", None);
        answer.headers_mut().insert(RETRY_AFTER, 1.into());
        return Err(answer);
    }
    Ok(wait)
}

/// Reads the request. Nothing is submitted yet.
async fn begin(app: &App, request: Request) -> Result<(SubmitRequest, TaskTrackerToken), Response> {
    let wait = open(app)?;
    let body = timeout(BODY, Bytes::from_request(request, &()));
    let body = body.await.map_err(|_| StatusCode::REQUEST_TIMEOUT.into_response())?;
    let body = body.map_err(IntoResponse::into_response)?;
    Ok((submission(&body)?, wait))
}

#[expect(clippy::result_large_err, reason = "it is the answer")]
fn submission(body: &[u8]) -> Result<SubmitRequest, Response> {
    let chat: Chat = serde_json::from_slice(body).map_err(|error| invalid(&format!("body: {error}")))?;
    let model: String = field("model", chat.model.as_deref())?;
    let messages: Vec<Box<RawValue>> = field("messages", chat.messages.as_deref())?;
    // Each is passed on byte for byte.
    let messages: Result<Vec<_>, _> = messages.iter().map(Message::from_value).collect();
    let mut request =
        SubmitRequest::builder(model).messages(messages.map_err(|error| Error::from(error).into_response())?);
    if let Some(tools) = &chat.tools {
        request = request.tools(tools);
    }
    if let Some(options) = &chat.options {
        request = request.options(options);
    }
    if let Some(think) = &chat.think {
        request = request.think(think);
    }
    request.build().map_err(Error::into_response)
}

#[expect(clippy::result_large_err, reason = "it is the answer")]
fn field<T: DeserializeOwned + Default>(name: &str, json: Option<&RawValue>) -> Result<T, Response> {
    let Some(json) = json else { return Ok(T::default()) };
    serde_json::from_str(json.get()).map_err(|error| invalid(&format!("{name}: {error}")))
}

fn invalid(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "the request is invalid", detail, None)
}

/// The result of a job that is done; else the problem.
fn result(job: Result<JobResult, Error>) -> Response {
    match job.and_then(JobResult::into_success) {
        Ok(job) => {
            let json = job.result.as_deref().map_or("null", RawValue::get).to_owned();
            let mut answer = ([(CONTENT_TYPE, "application/json")], json).into_response();
            tell(&mut answer, Some(&job.job_id));
            answer
        }
        Err(error) => error.into_response(),
    }
}

/// A stop ended the wait, and not the job. Without `Retry-After`: the same again would be another job.
fn detached(job_id: Option<&JobId>) -> Response {
    tracing::info!(job_id = job_id.map(JobId::as_str), "a job goes on without its caller");
    problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the job goes on", job_id)
}

fn problem(status: StatusCode, title: &str, detail: &str, job_id: Option<&JobId>) -> Response {
    let mut problem = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    if let Some(job_id) = job_id {
        problem["job_id"] = job_id.as_str().into();
    }
    let body = Body::from(problem.to_string());
    (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
}

fn tell(answer: &mut Response, job_id: Option<&JobId>) {
    let Some(id) = job_id else { return };
    // An id may hold what a header may not; it is in the body of a problem all the same.
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers_mut().insert(JOB_ID, value);
    }
    if let Ok(value) = HeaderValue::try_from(format!("/jobs/{id}")) {
        answer.headers_mut().insert(LOCATION, value);
    }
}
