use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tower::{Service, ServiceExt};

use super::shared::Shared;
use crate::api::{CancelJob, GetJob, Polled};
use crate::submission::DropPolicy;
use crate::{BoxError, Error, JobId, JobState, JobStatus};

/// Cancels jobs that nobody waits for any longer.
pub(super) trait Abandon: Send + Sync {
    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> Cancelling;
}

type Cancelling = Pin<Box<dyn Future<Output = Result<Fate, Error>> + Send>>;

/// What became of a job that nobody waits for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was cancelled, or has ended by itself.
    Over,
    /// The policy says that it may go on.
    LeftAlone,
}

/// By a service that is cloned for each cancel; in a mutex, so that it need not be `Sync`.
pub(super) struct CancelBy<C>(Mutex<C>);

impl<C> CancelBy<C> {
    pub(super) fn new(service: C) -> Self {
        Self(Mutex::new(service))
    }
}

impl<C> Abandon for CancelBy<C>
where
    C: Clone + Send + 'static,
    C: Service<CancelJob, Response = JobStatus, Error: Into<BoxError>, Future: Send>,
    C: Service<GetJob, Response = Polled, Error: Into<BoxError>, Future: Send>,
{
    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> Cancelling {
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if policy == DropPolicy::CancelIfQueued {
                let asked = service.clone().oneshot(GetJob::new(job_id.clone())).await;
                match asked.map_err(|error| Error::from_boxed(error.into())) {
                    Ok(polled) if polled.status.state == JobState::Queued => {}
                    Ok(polled) if polled.status.state.is_terminal() => return Ok(Fate::Over),
                    Ok(_) => return Ok(Fate::LeftAlone),
                    Err(error) if error.is_not_found() => return Ok(Fate::Over),
                    Err(error) => return Err(error),
                }
            }
            let refused = match service.clone().oneshot(CancelJob(job_id.clone())).await {
                Ok(_) => return Ok(Fate::Over),
                Err(error) => Error::from_boxed(error.into()),
            };
            // It has ended meanwhile: nothing is left to cancel.
            if refused.status() == Some(StatusCode::CONFLICT) {
                return Ok(Fate::Over);
            }
            if !refused.is_not_found() {
                return Err(refused);
            }
            // 404 is said of a job that is not known, and by a daemon that cannot cancel: the job itself tells which.
            match service.oneshot(GetJob::new(job_id)).await.map_err(|error| Error::from_boxed(error.into())) {
                Ok(polled) if !polled.status.state.is_terminal() => Err(refused),
                Ok(_) => Ok(Fate::Over),
                Err(error) if error.is_not_found() => Ok(Fate::Over),
                Err(_) => Err(refused),
            }
        })
    }
}

/// Cancels in the background, if there is a runtime to do it on; never blocks and never panics, since it is called from a drop.
pub(super) fn cancel_in_background(shared: Arc<Shared>, abandon: &dyn Abandon, job_id: JobId, policy: DropPolicy) {
    let mut tally = Tally { shared, fate: None };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        tracing::debug!(%job_id, "a job cannot be cancelled: it was let go outside a runtime");
        return;
    };
    let cancelling = abandon.cancel(job_id.clone(), policy);
    runtime.spawn(async move {
        match cancelling.await {
            Ok(fate) => tally.fate = Some(fate),
            Err(error) => {
                tracing::debug!(%job_id, error = &error as &dyn std::error::Error, "a job could not be cancelled");
            }
        }
        drop(tally);
    });
}

/// Counts what became of a job; a cancel that the runtime drops is one that was not done.
struct Tally {
    shared: Arc<Shared>,
    fate: Option<Fate>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        match self.fate {
            Some(Fate::Over) => counters.cancelled.add(),
            Some(Fate::LeftAlone) => {}
            None => counters.cancels_failed.add(),
        }
    }
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
    async fn a_404_to_the_cancel_is_looked_into() {
        for (get, expected) in [
            ((404, ""), Some(Fate::Over)),
            ((200, r#"{"job_id":"7","state":"done"}"#), Some(Fate::Over)),
            // The daemon cannot cancel: the job goes on.
            ((200, r#"{"job_id":"7","state":"running"}"#), None),
            ((500, ""), None),
        ] {
            let daemon = service_fn(move |request: Request<Full<Bytes>>| async move {
                let (status, body) = if request.method() == Method::DELETE { (404, "404 page not found") } else { get };
                Response::builder().status(status).body(Full::<Bytes>::from(body))
            });
            let api = Api::new("http://daemon.example".parse().unwrap(), daemon);
            let fate = CancelBy::new(api).cancel(JobId::new("7").unwrap(), DropPolicy::Cancel).await;
            assert_eq!(fate.ok(), expected, "{get:?}");
        }
    }
}
