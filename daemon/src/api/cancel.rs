use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::StatusCode;

use super::{App, JobPath, Rejection, json};
use crate::owner::Owner;
use crate::store::Cancelled;

/// `DELETE /jobs/{id}`
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    job: JobPath,
) -> Result<Response, Rejection> {
    let JobPath(job_id) = job;
    let jobs = Arc::clone(&app.jobs);
    match app.jobs.run_detached(async move { jobs.cancel(owner, &job_id).await }).await? {
        Cancelled::Ended(status) => Ok(json(StatusCode::ACCEPTED, &*status)),
        Cancelled::Terminal(state) => Err(Rejection::new(StatusCode::CONFLICT, format!("job is already {state}"))),
        Cancelled::Unknown => Err(Rejection::unknown_job()),
    }
}
