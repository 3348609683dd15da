use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;

use super::{App, Job, Refused, json};
use crate::owner::Owner;
use crate::store::Cancelled;

/// `DELETE /jobs/{id}`
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    job: Job,
) -> Result<Response, Refused> {
    let Job(job_id) = job;
    let jobs = Arc::clone(&app.jobs);
    match app.jobs.through(async move { jobs.cancel(owner, &job_id).await }).await? {
        Cancelled::Ended(status) => Ok(json(StatusCode::ACCEPTED, &*status)),
        Cancelled::Terminal(state) => Err(Refused::new(StatusCode::CONFLICT, format!("the job is {state} already"))),
        Cancelled::Unknown => Err(Refused::unknown_job()),
    }
}
