use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::future::JobWait;
use super::shared::Shared;
use super::stats::WaitStats;
use crate::api::{Accepted, GetJob, Polled};
use crate::submission::KeepAlive;
use crate::{BoxError, Error, JobId, JobResult, SubmitRequest};

/// The service of [`WaitLayer`](super::WaitLayer): a `Service<SubmitRequest>` that submits and waits, and a `Service<JobId>` that
/// attaches to a job. Both resolve to the finished job.
///
/// It is ready when `S` is. Clones share the statistics, the limits of polls, and what is known of the daemon.
#[derive(Clone)]
pub struct Wait<S, P> {
    submit: S,
    polls: P,
    deadline: Option<Duration>,
    shared: Arc<Shared>,
}

impl<S, P> Wait<S, P> {
    pub(super) fn new(submit: S, polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        Self { submit, polls, deadline, shared }
    }

    /// The same service with the shorter of its own deadline and `deadline`, for one caller whose time is limited. With a deadline of
    /// zero, a wait that attaches to a job polls at most twice and ends.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        self
    }

    /// Counts of the waits so far.
    #[must_use]
    pub fn stats(&self) -> WaitStats {
        self.shared.counters.snapshot()
    }
}

impl<S, P> Service<SubmitRequest> for Wait<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>> + Clone,
{
    type Response = JobResult;
    type Error = Error;
    type Future = JobWait<S, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.submit.poll_ready(cx).map_err(|error| Error::from_boxed(error.into()))
    }

    fn call(&mut self, request: SubmitRequest) -> Self::Future {
        // The ready service goes into the future, which may have to wait for another wait before it sends.
        let next = self.submit.clone();
        let ready = std::mem::replace(&mut self.submit, next);
        JobWait::submit(ready, request, self.polls.clone(), self.deadline, Arc::clone(&self.shared))
    }
}

/// Attaches to a job that was submitted before.
impl<S, P> Service<JobId> for Wait<S, P>
where
    S: Service<SubmitRequest, Response = Accepted, Error: Into<BoxError>> + Clone,
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>> + Clone,
{
    type Response = JobResult;
    type Error = Error;
    type Future = JobWait<S, P>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job_id: JobId) -> Self::Future {
        JobWait::attach(KeepAlive::existing_job(job_id), self.polls.clone(), self.deadline, Arc::clone(&self.shared))
    }
}

impl<S: fmt::Debug, P: fmt::Debug> fmt::Debug for Wait<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("submit", &self.submit).field("polls", &self.polls).finish_non_exhaustive()
    }
}
