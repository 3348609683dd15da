use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use tower::{Service, ServiceExt};

use crate::api::{Accepted, CancelJob, GetJob, Polled, cancel_job};
use crate::submission::DropPolicy;
use crate::{BoxError, Error, JobId, JobState, JobStatus, SubmitRequest};

/// Cancels abandoned jobs.
pub(super) trait CancelOnDrop: Send + Sync {
    /// Applies `policy`, which is one that may cancel.
    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> BoxFuture<CancelOutcome>;

    /// Sends a submission again that may have arrived, to learn the id of its job.
    fn resend(&self, request: SubmitRequest) -> BoxFuture<Accepted>;
}

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What became of an abandoned job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelOutcome {
    /// It was cancelled, or it ended by itself.
    Ended,
    /// The policy lets it go on.
    LeftRunning,
}

/// Cancels by a service that is cloned for each job. It is in a mutex, so that it need not be `Sync`.
pub(super) struct CancelBy<C>(Mutex<C>);

impl<C> CancelBy<C> {
    pub(super) fn new(service: C) -> Self {
        Self(Mutex::new(service))
    }
}

impl<C: Clone> CancelBy<C> {
    fn service(&self) -> C {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<C> CancelOnDrop for CancelBy<C>
where
    C: Clone + Send + 'static,
    C: Service<CancelJob, Response = JobStatus, Error: Into<BoxError>, Future: Send>,
    C: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future: Send>,
    C: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>, Future: Send>,
{
    fn resend(&self, request: SubmitRequest) -> BoxFuture<Accepted> {
        let service = self.service();
        Box::pin(async move { service.oneshot(request).await.map_err(|error| Error::from_boxed(error.into())) })
    }

    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> BoxFuture<CancelOutcome> {
        let service = self.service();
        Box::pin(async move {
            if policy == DropPolicy::CancelIfQueued {
                let polled = service.clone().oneshot(GetJob::new(job_id.clone())).await;
                match polled.map_err(|error| Error::from_boxed(error.into())) {
                    Ok(Polled { status, .. }) if status.state == JobState::Queued => {}
                    Ok(Polled { status, .. }) if status.state.is_terminal() => return Ok(CancelOutcome::Ended),
                    Ok(_) => return Ok(CancelOutcome::LeftRunning),
                    Err(error) if error.is_not_found() => return Ok(CancelOutcome::Ended),
                    Err(error) => return Err(error),
                }
            }
            match cancel_job(service, job_id).await {
                Ok(_) => Ok(CancelOutcome::Ended),
                Err(error) if has_ended(&error) => Ok(CancelOutcome::Ended),
                Err(error) => Err(error),
            }
        })
    }
}

/// Whether a refused cancel means that there is nothing to cancel any more.
fn has_ended(error: &Error) -> bool {
    error.status() == Some(StatusCode::CONFLICT)
        || error.is_not_found()
        || error.last_state().is_some_and(JobState::is_terminal)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Method, Request, Response};
    use http_body_util::Full;
    use tower::service_fn;

    use super::*;
    use crate::Api;

    #[tokio::test]
    async fn cancel_answered_404_polls_the_job() {
        for (get, expected) in [
            ((404, ""), Some(CancelOutcome::Ended)),
            ((200, r#"{"job_id":"7","state":"done"}"#), Some(CancelOutcome::Ended)),
            // The daemon does not support cancelling: the job goes on.
            ((200, r#"{"job_id":"7","state":"running"}"#), None),
            ((500, ""), None),
        ] {
            let daemon = service_fn(move |request: Request<Full<Bytes>>| async move {
                let (status, body) = if request.method() == Method::DELETE { (404, "404 page not found") } else { get };
                Response::builder().status(status).body(Full::<Bytes>::from(body))
            });
            let api = Api::new("http://daemon.example".parse().unwrap(), daemon);
            let outcome = CancelBy::new(api).cancel(JobId::new("7").unwrap(), DropPolicy::Cancel).await;
            assert_eq!(outcome.ok(), expected, "{get:?}");
        }
    }
}
