use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tower::Service;

use super::future::JobWait;
use super::shared::Shared;
use crate::api::{Accepted, GetJob, Polled};
use crate::submission::KeepAlive;
use crate::{BoxError, Error, JobId, JobResult, SubmitRequest};

/// Attaches to a job that was submitted before: a `Service<JobId>` that resolves to the finished job. It polls.
///
/// [`WaitLayer::attach`](super::WaitLayer::attach), [`Wait::attach`](super::Wait::attach) and
/// [`Client::attach`](crate::Client::attach) return one. It is always ready, and its clones share the statistics and the rate of polls
/// with the waits of the same layer.
#[derive(Clone)]
pub struct Attach<P> {
    polls: P,
    deadline: Option<Duration>,
    shared: Arc<Shared>,
}

impl<P> Attach<P> {
    pub(super) fn new(polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        Self { polls, deadline, shared }
    }

    /// The same service with the shorter of its own deadline and `deadline`, for one caller whose time is limited. With a deadline of
    /// zero, a wait polls at most twice and ends.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        self
    }
}

impl<P> Service<JobId> for Attach<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>> + Clone,
{
    type Response = JobResult;
    type Error = Error;
    type Future = AttachedWait<P>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, job_id: JobId) -> Self::Future {
        let submission = KeepAlive::existing_job(job_id);
        AttachedWait(JobWait::attach(submission, self.polls.clone(), self.deadline, Arc::clone(&self.shared)))
    }
}

/// A wait for a job by its id: the future of [`Attach`], which resolves to the finished job.
///
/// # Cancel safety
///
/// Dropping it does not affect the job.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct AttachedWait<P: Service<GetJob>>(#[pin] JobWait<NeverSubmits, P>);

impl<P> Future for AttachedWait<P>
where
    P: Service<GetJob, Response = Polled, Error: Into<BoxError>>,
{
    type Output = Result<JobResult, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().0.poll(cx)
    }
}

/// The service of a wait that submits nothing. It has no value.
#[derive(Clone)]
pub(super) struct NeverSubmits(Infallible);

impl Service<SubmitRequest> for NeverSubmits {
    type Response = Accepted;
    type Error = Error;
    type Future = Pending<Result<Accepted, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.0 {}
    }

    fn call(&mut self, _: SubmitRequest) -> Self::Future {
        match self.0 {}
    }
}

impl<P: fmt::Debug> fmt::Debug for Attach<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attach").field("polls", &self.polls).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<P: Service<GetJob>> fmt::Debug for AttachedWait<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AttachedWait").field(&self.0).finish()
    }
}
