use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::{Layer, Service};

use crate::{BoxError, Error, JobId, Submission, SubmitRequest};

/// Puts the job on the errors of the layers below it: its id, the idempotency key, the last state and the daemon.
///
/// A layer such as `Timeout` or `LoadShed` makes errors that know nothing of the job. The caller then cannot find the job, and does not
/// learn whether it runs. This layer goes on top of the stack, and returns every error as an [`Error`] that says so
/// ([`Error::job_id`], [`Error::may_be_running`]). The errors of the wait itself pass unchanged. If
/// [`Reattach`](crate::retry::Reattach) has renewed a failed job, the error is of the new one.
///
/// The layer drops a call that failed before it looks at the submission. If a layer below has moved the call to a task of its own, which
/// may still send it, the error says that a job may be running.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_client::BoxError> {
/// use std::time::Duration;
///
/// use foreman_client::wait::JobErrorsLayer;
/// use foreman_client::{Client, SubmitRequest};
/// use tower::{ServiceBuilder, ServiceExt};
/// # let echo = foreman_daemon::Echo::new().delay(Duration::from_secs(60));
/// # let daemon = foreman_daemon::Daemon::builder().backend(echo).start().await?;
/// # let client = Client::builder(daemon.url()).build().await?;
///
/// let jobs = ServiceBuilder::new()
///     .layer(JobErrorsLayer::new())
///     .timeout(Duration::from_millis(300))
///     .service(client.jobs());
/// let request = SubmitRequest::builder("echo").user("hi").build()?;
/// let error = jobs.oneshot(request).await.unwrap_err();
/// assert!(error.is_timeout() && error.may_be_running());
/// assert!(error.job_id().is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct JobErrorsLayer(());

impl JobErrorsLayer {
    /// The layer has no options.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for JobErrorsLayer {
    type Service = JobErrors<S>;

    fn layer(&self, inner: S) -> JobErrors<S> {
        JobErrors { inner }
    }
}

/// The service of [`JobErrorsLayer`].
#[derive(Debug, Clone)]
pub struct JobErrors<S> {
    inner: S,
}

impl<S> Service<SubmitRequest> for JobErrors<S>
where
    S: Service<SubmitRequest, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = JobErrorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| Error::from_boxed(error.into()).surely_unsent())
    }

    fn call(&mut self, request: SubmitRequest) -> Self::Future {
        let job = Job::Submitted(request.submission());
        JobErrorsFuture { future: Some(self.inner.call(request)), job }
    }
}

/// Attaching to a job.
impl<S> Service<JobId> for JobErrors<S>
where
    S: Service<JobId, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = JobErrorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| Error::from_boxed(error.into()))
    }

    fn call(&mut self, job_id: JobId) -> Self::Future {
        let job = Job::Attached(job_id.clone());
        JobErrorsFuture { future: Some(self.inner.call(job_id)), job }
    }
}

/// The future of [`JobErrors`].
///
/// # Cancel safety
///
/// That of the future below.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct JobErrorsFuture<F> {
    /// `None` after its end.
    #[pin]
    future: Option<F>,
    job: Job,
}

#[derive(Debug)]
enum Job {
    Submitted(Submission),
    Attached(JobId),
}

impl<F, T, E> Future for JobErrorsFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let result = ready!(future.poll(cx));
        Poll::Ready(result.map_err(|error| {
            let error = Error::from_boxed(error.into());
            match this.job {
                Job::Submitted(submission) => submission.annotate_after(error, || this.future.set(None)),
                Job::Attached(job_id) => error.with_job(Some(job_id.clone()), None, None),
            }
        }))
    }
}

impl<F> fmt::Debug for JobErrorsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobErrorsFuture").field("job", &self.job).finish_non_exhaustive()
    }
}
