use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::attach::Attach;
use super::future::JobWait;
use super::shared::Shared;
use super::stats::WaitStats;
use crate::api::{Accepted, GetJob, Polled};
use crate::{BoxError, Error, JobId, JobResult, SubmitRequest};

/// The service of [`WaitLayer`](super::WaitLayer): a `Service<SubmitRequest>` that submits, waits, and resolves to the finished job.
///
/// It is ready when `S` is. [`attach`](Wait::attach) is the service for jobs that were submitted before. Clones share the
/// statistics, the limits of polls, and what is known of the daemon.
#[derive(Clone)]
pub struct Wait<S, P> {
    submit: S,
    polls: P,
    deadline: Option<Duration>,
    /// It was called, or the service that it was cloned from. `tower::retry` asks such a clone whether it is ready between two
    /// calls with one request: its failure does not show that nothing was sent.
    called: bool,
    shared: Arc<Shared>,
}

impl<S, P> Wait<S, P> {
    pub(super) fn new(submit: S, polls: P, deadline: Option<Duration>, shared: Arc<Shared>) -> Self {
        Self { submit, polls, deadline, called: false, shared }
    }

    /// The same service with the shorter of its own deadline and `deadline`, for one caller whose time is limited. It counts from the
    /// first call of the submission. With a deadline of zero, nothing is submitted.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Duration>) -> Self {
        self.deadline = self.deadline.into_iter().chain(deadline).min();
        self
    }

    /// Counts of the waits so far, and how long polls are delayed now.
    #[must_use]
    pub fn stats(&self) -> WaitStats {
        WaitStats { poll_backlog: self.shared.polling.backlog(), ..self.shared.counters.snapshot() }
    }

    /// Stops the service and its clones, and those of its [`attach`](Wait::attach).
    ///
    /// 1. New calls fail with [`Error::is_shutting_down`]. Nothing is submitted.
    /// 2. The waits have `grace` to end by themselves. Keep the webhook receiver open until then.
    /// 3. The waits that remain end with [`Error::is_shutting_down`], and with the id of their job. Their jobs go on, or are cancelled by
    ///    the [`DropPolicy`](crate::DropPolicy).
    /// 4. The callers of these waits have 1 s to drop the requests whose jobs are to be cancelled.
    /// 5. Cancels have 10 s to complete.
    ///
    /// Returns the ids of the jobs that go on as far as is known, each once. That includes jobs whose wait was dropped or failed during the
    /// shutdown, and jobs whose cancel failed then. It takes at most `grace` and 11 s.
    ///
    /// # Cancel safety
    ///
    /// After the first poll the service takes no calls, also if the future is dropped. Calling `shutdown` again, also at the same time,
    /// continues, and returns the same jobs.
    pub async fn shutdown(&self, grace: Duration) -> Vec<JobId> {
        self.shared.shutdown(grace).await
    }

    /// Whoever else asks this daemon got a response, or an error.
    pub(crate) fn heard(&self, error: Option<&Error>) {
        match error {
            Some(error) => self.shared.failed(error),
            None => self.shared.responded(),
        }
    }

    /// Whether [`shutdown`](Wait::shutdown) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shared.live.is_draining()
    }
}

impl<S, P: Clone> Wait<S, P> {
    /// The service that attaches to jobs by their ids. It shares the statistics and the rate of polls with this one, and has the same
    /// deadline.
    #[must_use]
    pub fn attach(&self) -> Attach<P> {
        Attach::new(self.polls.clone(), self.deadline, Arc::clone(&self.shared))
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
        self.submit.poll_ready(cx).map_err(|error| {
            let error = Error::from_boxed(error.into());
            if self.called { error.may_have_arrived() } else { error.surely_unsent() }
        })
    }

    fn call(&mut self, request: SubmitRequest) -> Self::Future {
        self.called = true;
        // The ready service goes into the future, which may have to wait for another wait before it sends.
        let next = self.submit.clone();
        let ready = std::mem::replace(&mut self.submit, next);
        JobWait::submit(ready, request, self.polls.clone(), self.deadline, Arc::clone(&self.shared))
    }
}

impl<S: fmt::Debug, P: fmt::Debug> fmt::Debug for Wait<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("submit", &self.submit).field("polls", &self.polls).finish_non_exhaustive()
    }
}
