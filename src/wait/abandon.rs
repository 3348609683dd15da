use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tower::{Service, ServiceExt};

use super::shared::Shared;
use crate::api::{CancelJob, GetJob};
use crate::submission::DropPolicy;
use crate::{BoxError, Error, JobId, JobState, JobStatus};

/// Cancels jobs that nobody waits for any longer.
pub(super) trait Abandon: Send + Sync {
    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> Cancelling;
}

type Cancelling = Pin<Box<dyn Future<Output = Result<Fate, Error>> + Send>>;

/// What became of a job that nobody waits for any longer.
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
    C: Service<GetJob, Response = JobStatus, Error: Into<BoxError>, Future: Send>,
{
    fn cancel(&self, job_id: JobId, policy: DropPolicy) -> Cancelling {
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if policy == DropPolicy::CancelIfQueued {
                let asked = service.clone().oneshot(GetJob::new(job_id.clone())).await;
                match asked.map_err(|error| Error::from_boxed(error.into()))?.state {
                    JobState::Queued => {}
                    state if state.is_terminal() => return Ok(Fate::Over),
                    _ => return Ok(Fate::LeftAlone),
                }
            }
            match service.oneshot(CancelJob(job_id)).await {
                Ok(_) => Ok(Fate::Over),
                Err(error) => Err(Error::from_boxed(error.into())),
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
            // It has ended meanwhile, or is not known any more: nothing is left to cancel.
            Err(error) if error.is_not_found() || error.status() == Some(http::StatusCode::CONFLICT) => {
                tally.fate = Some(Fate::Over);
            }
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
