use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use crate::error::problem::set_job_id;
use crate::wait::{Progress, Update};
use crate::{BoxError, Error, JobResult};

/// The result of a job that is done, as JSON, with the header [`JOB_ID`](super::JOB_ID). For a job that failed, the problem of
/// [`into_success`](JobResult::into_success).
impl IntoResponse for JobResult {
    fn into_response(self) -> Response {
        match self.into_success() {
            Ok(result) => {
                let json = result.json().map_or("null", RawValue::get).to_owned();
                let mut response =
                    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response();
                set_job_id(&mut response, result.job_id());
                response
            }
            Err(error) => error.into_response(),
        }
    }
}

/// Server-sent events for the states of a job and its result.
///
/// It waits until the daemon has accepted the job, so that a refusal is an error with a status of its own. The response has the header
/// [`JOB_ID`](super::JOB_ID) and these events:
///
/// | event | data |
/// |---|---|
/// | `state` | `{"state": "…"}`, for each state |
/// | `state` | `{"state": "queued", "position": 3}`, for each new place in the queue, if the daemon sends `position` |
/// | `result` | the result as JSON; the last event |
/// | `problem` | problem details (RFC 9457); the last event |
///
/// A comment every 15 s keeps the connection alive. When the caller disconnects, the stream is dropped, and the drop policy applies.
///
/// # Errors
///
/// If the daemon does not accept the job.
///
/// # Cancel safety
///
/// Dropping the future drops the wait.
pub async fn events<F, E>(progress: Progress<F>) -> Result<Response, Error>
where
    F: Future<Output = Result<JobResult, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let mut progress = Box::pin(progress);
    let job_id = progress.as_mut().accepted().await?;
    let mut response = Sse::new(Events { progress }).keep_alive(KeepAlive::default()).into_response();
    set_job_id(&mut response, &job_id);
    Ok(response)
}

struct Events<S> {
    progress: Pin<Box<S>>,
}

impl<S: Stream<Item = Result<Update, Error>>> Stream for Events<S> {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let update = ready!(self.progress.as_mut().poll_next(cx));
        Poll::Ready(update.map(|update| Ok(event(update))))
    }
}

fn event(update: Result<Update, Error>) -> Event {
    let result = match update {
        Ok(Update::State(change)) => {
            let mut state = serde_json::json!({ "state": change.state });
            if let Some(position) = change.position {
                state["position"] = position.into();
            }
            return Event::default().event("state").data(state.to_string());
        }
        Ok(Update::Finished(result)) => result.into_success(),
        Err(error) => Err(error),
    };
    let (name, json) = match result {
        Ok(result) => ("result", result.json().map_or("null", RawValue::get).to_owned()),
        Err(error) => ("problem", error.problem()),
    };
    // Between the tokens of the JSON there may be line breaks, which an event may not have.
    Event::default().event(name).data(json.replace(['\r', '\n'], " "))
}
