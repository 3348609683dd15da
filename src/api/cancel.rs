use tower::{Service, ServiceExt};

use super::calls::cannot_cancel;
use super::{CancelJob, GetJob, Polled};
use crate::{BoxError, Error, JobId, JobStatus};

/// Cancels a job, and finds out what a 404 means.
///
/// A daemon without the cancel extension and a daemon that does not know the job both answer 404 to `DELETE /jobs/{id}`. Only
/// `GET /jobs/{id}` tells them apart, so it follows a 404.
///
/// # Errors
///
/// [`Error::is_unsupported`] if the job exists, with its state in [`Error::last_state`]; [`Error::is_not_found`] if it does not;
/// otherwise the error of the request that failed.
pub(crate) async fn cancel_job<C>(service: C, job_id: JobId) -> Result<JobStatus, Error>
where
    C: Clone,
    C: Service<CancelJob, Response = JobStatus, Error: Into<BoxError>>,
    C: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    let refused = match service.clone().oneshot(CancelJob(job_id.clone())).await {
        Ok(status) => return Ok(status),
        Err(error) => Error::from_boxed(error.into()),
    };
    let Some(status) = refused.status().filter(|_| refused.is_not_found()) else { return Err(refused) };
    match service.oneshot(GetJob::new(job_id.clone())).await.map_err(|error| Error::from_boxed(error.into())) {
        Ok(polled) => {
            Err(cannot_cancel(status).with_job(Some(job_id), None, Some(polled.status.state)).with_source(refused))
        }
        Err(error) if error.is_not_found() => Err(refused),
        Err(error) => Err(error),
    }
}
