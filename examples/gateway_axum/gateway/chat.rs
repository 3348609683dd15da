//! The handlers.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use foreman_client::{BoxError, Error, JobId, JobResult, Message, SubmitRequest};
use futures_util::StreamExt as _;
use futures_util::future::maybe_done;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt as _;

use super::App;
use super::progress::{Progress, Watched};

/// In each response about a job, be it a result or a problem.
const JOB_ID: HeaderName = HeaderName::from_static("foreman-job-id");
/// The time limit for the body of a request.
const BODY: Duration = Duration::from_secs(30);

type HttpResult = Result<Response, Response>;

/// `POST /chat`: waits for the job and returns its result.
///
/// If the caller disconnects, the drop policy applies to the job.
pub(super) async fn unary(State(app): State<App>, request: Request) -> HttpResult {
    let (request, _wait) = begin(&app, request).await?;
    let submission = request.submission();
    let mut response = tokio::select! {
        job = app.jobs.oneshot(request) => result(job),
        () = app.stop.detach().cancelled() => detached(submission.job_id().as_ref()),
    };
    // The error of a layer has no job id. The submission has it.
    set_job_id(&mut response, submission.job_id().as_ref());
    Ok(response)
}

/// `GET /jobs/{id}`: waits for a running job and returns its result. It is for callers that were
/// disconnected or got 503 or 504. Any caller that knows the id of a job gets its result.
pub(super) async fn attach(State(app): State<App>, Path(id): Path<String>) -> HttpResult {
    let _wait = register(&app)?;
    let id = JobId::new(id).map_err(|error| Error::from(error).into_response())?;
    let mut response = tokio::select! {
        job = app.client.attach().oneshot(id.clone()) => result(job),
        () = app.stop.detach().cancelled() => detached(Some(&id)),
    };
    set_job_id(&mut response, Some(&id));
    Ok(response)
}

/// `POST /chat/events`: server-sent events. A `state` for each state of the job, then one
/// `result` or `problem`.
///
/// A failure before the daemon has accepted the job is a response with a status of its own.
pub(super) async fn events(State(app): State<App>, request: Request) -> HttpResult {
    let (request, wait) = begin(&app, request).await?;
    let submission = request.submission();
    let states = submission.states();
    let detach = app.stop.detach().clone();
    let mut job = Box::pin(maybe_done(app.jobs.oneshot(request)));
    tokio::select! {
        () = job.as_mut() => {}
        _ = submission.accepted() => {}
        () = detach.cancelled() => return Err(detached(None)),
    }
    let Some(id) = submission.job_id() else {
        job.as_mut().await;
        return Err(job.as_mut().take_output().map_or_else(|| detached(None), result));
    };
    let progress = Watched { states, job, detach, _wait: wait }.progress();
    let job_id = id.clone();
    let events = progress.then(move |progress| sse_event(progress, job_id.clone()));
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    set_job_id(&mut response, Some(&id));
    Ok(response)
}

async fn sse_event(progress: Progress, id: JobId) -> Result<Event, BoxError> {
    let response = match progress {
        Progress::State(state) => {
            return Ok(Event::default().event("state").json_data(json!({ "state": state }))?);
        }
        Progress::End(Some(job)) => result(job),
        Progress::End(None) => detached(Some(&id)),
    };
    let name = if response.status().is_success() { "result" } else { "problem" };
    let body = to_bytes(response.into_body(), usize::MAX).await?;
    // The JSON may have line breaks, which events may not.
    let json: &RawValue = serde_json::from_slice(&body)?;
    Ok(Event::default().event(name).json_data(json)?)
}

/// Ollama's chat request. `stream` is ignored: a job has one result, and `POST /chat/events`
/// streams its states.
#[derive(Deserialize)]
struct Chat {
    model: Option<Box<RawValue>>,
    messages: Option<Box<RawValue>>,
    tools: Option<Box<RawValue>>,
    options: Option<Box<RawValue>>,
    think: Option<Box<RawValue>>,
}

/// Registers a wait, unless the gateway is stopping.
#[expect(clippy::result_large_err, reason = "it is the response")]
fn register(app: &App) -> Result<TaskTrackerToken, Response> {
    app.stop.register().ok_or_else(|| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = problem(status, "stopping", "nothing was submitted", None);
        response.headers_mut().insert(RETRY_AFTER, 1.into());
        response
    })
}

/// Registers a wait and reads the request. Nothing is submitted.
async fn begin(app: &App, request: Request) -> Result<(SubmitRequest, TaskTrackerToken), Response> {
    let wait = register(app)?;
    let body = timeout(BODY, Bytes::from_request(request, &()));
    let body = body.await.map_err(|_| StatusCode::REQUEST_TIMEOUT.into_response())?;
    let body = body.map_err(IntoResponse::into_response)?;
    Ok((submission(&body)?, wait))
}

#[expect(clippy::result_large_err, reason = "it is the response")]
fn submission(body: &[u8]) -> Result<SubmitRequest, Response> {
    let chat = serde_json::from_slice(body);
    let chat: Chat = chat.map_err(|error| invalid(&format!("body: {error}")))?;
    let model: String = field("model", chat.model.as_deref())?;
    let messages: Vec<Box<RawValue>> = field("messages", chat.messages.as_deref())?;
    // Each message is forwarded byte for byte.
    let messages: Result<Vec<_>, _> = messages.iter().map(Message::from_value).collect();
    let messages = messages.map_err(|error| Error::from(error).into_response())?;
    let mut request = SubmitRequest::builder(model).messages(messages);
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

#[expect(clippy::result_large_err, reason = "it is the response")]
fn field<T>(name: &str, json: Option<&RawValue>) -> Result<T, Response>
where
    T: DeserializeOwned + Default,
{
    let Some(json) = json else { return Ok(T::default()) };
    serde_json::from_str(json.get()).map_err(|error| invalid(&format!("{name}: {error}")))
}

fn invalid(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "the request is invalid", detail, None)
}

/// The result of a job that is done, or else the problem.
fn result(job: Result<JobResult, Error>) -> Response {
    match job.and_then(JobResult::into_success) {
        Ok(job) => {
            let json = job.json().map_or("null", RawValue::get).to_owned();
            let mut response = ([(CONTENT_TYPE, "application/json")], json).into_response();
            set_job_id(&mut response, Some(job.job_id()));
            response
        }
        Err(error) => error.into_response(),
    }
}

/// The gateway stops and the job continues. There is no `Retry-After`: a repeated request would be
/// another job.
fn detached(job_id: Option<&JobId>) -> Response {
    tracing::info!(job_id = job_id.map(JobId::as_str), "job continues without its caller");
    problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the job continues", job_id)
}

fn problem(status: StatusCode, title: &str, detail: &str, job_id: Option<&JobId>) -> Response {
    let status_code = status.as_u16();
    let mut problem = json!({ "title": title, "status": status_code, "detail": detail });
    if let Some(job_id) = job_id {
        problem["job_id"] = job_id.as_str().into();
    }
    let body = Body::from(problem.to_string());
    (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response()
}

fn set_job_id(response: &mut Response, job_id: Option<&JobId>) {
    let Some(id) = job_id else { return };
    // An id may have characters that a header may not. A problem has the id in its body too.
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(JOB_ID, value);
    }
    if let Ok(value) = HeaderValue::try_from(format!("/jobs/{id}")) {
        response.headers_mut().insert(LOCATION, value);
    }
}
