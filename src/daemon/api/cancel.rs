use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::{App, Job, Refused, json};
use crate::daemon::store::Cancelled;

/// `DELETE /jobs/{id}`
pub(super) async fn cancel(State(app): State<Arc<App>>, job: Job) -> Result<Response, Refused> {
    let Job(job_id) = job;
    match app.jobs.cancel(&job_id).await? {
        Cancelled::Ended(status) => Ok(json(StatusCode::ACCEPTED, &*status)),
        Cancelled::Terminal(state) => Err(Refused::new(StatusCode::CONFLICT, format!("the job is {state} already"))),
        Cancelled::Unknown => Err(Refused::unknown_job()),
    }
}
