//! [`Client`]: the default stack of this crate's layers, with short methods.

mod builder;
mod webhooks;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tower::retry::Retry;
use tower::util::Oneshot;
use tower::{Service, ServiceBuilder, ServiceExt};

pub use self::builder::ClientBuilder;
use crate::api::{
    Api, BaseUrl, Call, DrainBox, GetJob, HttpService, JobPage, ListBoxes, ListJobs, ListModels, Transport, UndrainBox,
    cancel_job,
};
use crate::error::Kind;
use crate::retry::RetrySubmission;
use crate::source::WebhookStats;
use crate::wait::{Attach, Progress, Wait, WaitLayer, WaitStats, WebhookEndpoint};
use crate::{
    BoxInfo, EmbedRequest, EmbedResponse, Error, JobHandle, JobId, JobResult, JobStatus, ModelInfo, SubmitRequest,
};

/// The service of [`Client::jobs`]: a wait around a retry of the submission, which resends where that is safe.
pub type Jobs<T = Transport> = Wait<Retry<RetrySubmission, Api<T>>, Api<T>>;

/// A client of one daemon, or of one queue that several daemons share: submits jobs and waits for their results, by webhook if it can bind a listener,
/// else by the daemon's event stream or by polls.
///
/// It is the default stack of this crate's layers with short methods. [`jobs`](Client::jobs) returns the service, for more layers
/// above it. Cloning is cheap, and clones share connections, the webhook listener and the statistics. The listener closes when the
/// last clone of the client, the last service of [`jobs`](Client::jobs), the last wait, and the last clone of each request that was
/// submitted are gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::{Client, SubmitRequest};
/// # let daemon = foreman_daemon::Daemon::start().await?;
/// # let url = daemon.url();
///
/// let client = Client::builder(url).build().await?;
/// let request = SubmitRequest::builder("echo")
///     .user("Why is the sky blue?")
///     .build()?;
/// let result = client.submit(request).await?.into_success()?;
/// println!("{}", result.content().unwrap_or_default());
/// # Ok(()) }
/// ```
pub struct Client<T = Transport>(Arc<Inner<T>>);

struct Inner<T> {
    api: Api<T>,
    addresses: Box<[BaseUrl]>,
    jobs: Jobs<T>,
    webhooks: Option<WebhookEndpoint>,
    /// No other client uses the listener.
    owns_listener: bool,
}

/// Counts of a [`Client`] and its clones since it was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The waits.
    pub waits: WaitStats,
    /// The webhook requests received. All zero if webhooks are off. Clients that share a notifier share these counts.
    pub webhooks: WebhookStats,
}

impl Client {
    /// Starts a client for the daemon at `base_url`, such as `http://127.0.0.1:11435`. The URL may have a path and a trailing slash.
    /// [`other_addresses`](ClientBuilder::other_addresses) are those of daemons that share its queue.
    pub fn builder(base_url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(base_url.into())
    }
}

/// The default stack.
fn stack<T: Clone>(api: &Api<T>, waits: &WaitLayer<Api<T>>, retry: RetrySubmission) -> Jobs<T> {
    ServiceBuilder::new().layer(waits).retry(retry).service(api.clone())
}

impl<T> Client<T>
where
    T: HttpService + Clone,
{
    /// Submits a job and waits for its result: a future of `Result<JobResult, Error>`, which borrows nothing.
    ///
    /// Nothing is sent before it is polled.
    ///
    /// # Errors
    ///
    /// If the submission fails, if polls fail for too long, or at the deadline. An error after the submission has the
    /// [`job_id`](Error::job_id), for [`wait`](Client::wait). A job that failed is a result and not an error; see
    /// [`into_success`](crate::JobResult::into_success).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: calling again with a clone of the request attaches to the job. If no clone is left, the drop
    /// policy applies: the job goes on unless set otherwise.
    #[must_use = "futures do nothing unless polled"]
    pub fn submit(&self, request: SubmitRequest) -> Oneshot<Jobs<T>, SubmitRequest> {
        self.jobs().oneshot(request)
    }

    /// Submits a job, and returns a stream of its states and then its result.
    ///
    /// Nothing is sent before the stream is polled, or its [`accepted`](Progress::accepted).
    pub fn progress(&self, request: SubmitRequest) -> Progress<Oneshot<Jobs<T>, SubmitRequest>> {
        let submission = request.submission();
        Progress::new(&submission, self.submit(request))
    }

    /// Waits for the result of a job that was submitted before, by polling: a future of `Result<JobResult, Error>`, which borrows nothing.
    ///
    /// # Errors
    ///
    /// As [`submit`](Client::submit), and [`Error::is_not_found`] at once if the daemon does not know the job.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not affect the job.
    #[must_use = "futures do nothing unless polled"]
    pub fn wait(&self, job_id: &JobId) -> Oneshot<Attach<Api<T>>, JobId> {
        self.attach().oneshot(job_id.clone())
    }

    /// The same for a job that a handle names, by any of the [`addresses`](Client::addresses) of the client.
    ///
    /// # Errors
    ///
    /// As [`wait`](Client::wait), and [`Error::is_other_daemon`] at once if the handle names none of the addresses. The daemon of the
    /// handle may have been one of the same queue that is gone: [`wait`](Client::wait) with [`JobHandle::job_id`] then finds the job.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not affect the job.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
    /// use foreman_client::{Client, JobHandle, SubmitRequest};
    /// # let daemon = foreman_daemon::Daemon::start().await?;
    /// # let url = daemon.url();
    ///
    /// let client = Client::builder(url).build().await?;
    /// let request = SubmitRequest::builder("echo").user("hi").build()?;
    /// let stored = client.submit(request).await?.job_handle().map(|job| job.to_string());
    ///
    /// let job: JobHandle = stored.unwrap_or_default().parse()?;
    /// assert!(client.wait_for(&job).await?.is_success());
    /// # Ok(()) }
    /// ```
    pub fn wait_for(&self, job: &JobHandle) -> impl Future<Output = Result<JobResult, Error>> + use<T> {
        let wait = match self.is_at(job) {
            true => Ok(self.wait(job.job_id())),
            false => Err(Error::new(Kind::OtherDaemon).with_daemon(Some(job.base_url().clone()))),
        };
        async move { wait?.await }
    }

    /// The state of a job now.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if the daemon does not know the job, and as any request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn status(&self, job_id: &JobId) -> Result<JobStatus, Error> {
        Ok(self.call(GetJob::new(job_id.clone())).await?.status)
    }

    /// Cancels a job, which then ends in state `failed` with the error `cancelled`.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] if the daemon does not support cancelling; [`Error::is_not_found`] if it does not know the job; status
    /// 409 if the job is terminal already.
    ///
    /// # Cancel safety
    ///
    /// After dropping the future, the job may be cancelled or not.
    pub async fn cancel(&self, job_id: &JobId) -> Result<JobStatus, Error> {
        cancel_job(self.0.api.clone(), job_id.clone()).await
    }

    /// A page of the daemon's jobs, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] if the daemon does not support listing jobs, and as any request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn list(&self, list: ListJobs) -> Result<JobPage, Error> {
        self.call(list).await
    }

    /// The models that the daemon can run.
    ///
    /// # Errors
    ///
    /// As any request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, Error> {
        self.call(ListModels).await
    }

    /// The daemons that share the queue of the daemon, or the daemon itself. A daemon is called a box where it is one of several.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] if the daemon has no such list, and as any request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn boxes(&self) -> Result<Vec<BoxInfo>, Error> {
        self.call(ListBoxes).await
    }

    /// Drains a daemon, by its [`BoxInfo::id`]: it takes no more jobs, finishes those that it runs, and goes on to respond. Any daemon
    /// that shares its queue takes the request. The token of the client must be the admin token of that daemon, if it has tokens.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if there is no such daemon, status 403 with a token that is not the admin token, and as any request. It is no
    /// error if the daemon is drained already.
    ///
    /// # Cancel safety
    ///
    /// After dropping the future, the daemon may be drained or not.
    pub async fn drain_box(&self, id: &str) -> Result<BoxInfo, Error> {
        self.call(DrainBox(id.to_owned())).await
    }

    /// Lets a drained daemon take jobs again, as [`drain_box`](Self::drain_box).
    ///
    /// # Errors
    ///
    /// As [`drain_box`](Self::drain_box). It is no error if the daemon is not drained.
    ///
    /// # Cancel safety
    ///
    /// After dropping the future, the daemon may be drained or not.
    pub async fn undrain_box(&self, id: &str) -> Result<BoxInfo, Error> {
        self.call(UndrainBox(id.to_owned())).await
    }

    /// Embeds texts. The request is not queued.
    ///
    /// # Errors
    ///
    /// As any request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedResponse, Error> {
        let response = self.send(request).await;
        // It takes as long as the model, so that a time-out says nothing of the daemon.
        if !response.as_ref().is_err_and(|error| matches!(error.kind(), Kind::RequestTimeout(_))) {
            self.0.jobs.heard(response.as_ref().err());
        }
        response
    }

    async fn call<C: Call>(&self, call: C) -> Result<C::Response, Error> {
        let response = self.send(call).await;
        self.0.jobs.heard(response.as_ref().err());
        response
    }

    async fn send<C: Call>(&self, call: C) -> Result<C::Response, Error> {
        let mut api = self.0.api.clone();
        std::future::poll_fn(|cx| Service::<C>::poll_ready(&mut api, cx)).await?;
        api.call(call).await
    }
}

impl<T: Clone> Client<T> {
    /// The service, for more layers above it: a `Service<SubmitRequest>` whose response is the finished job.
    #[must_use]
    pub fn jobs(&self) -> Jobs<T> {
        self.0.jobs.clone()
    }

    /// The service that attaches to jobs: a `Service<JobId>` whose response is the finished job.
    #[must_use]
    pub fn attach(&self) -> Attach<Api<T>> {
        self.0.jobs.attach()
    }

    /// The endpoints as services, without waiting.
    #[must_use]
    pub fn api(&self) -> Api<T> {
        self.0.api.clone()
    }
}

impl<T> Client<T> {
    /// Stops the client, its clones, and its services: the one call of a program that ends.
    ///
    /// 1. New submissions and waits fail with [`Error::is_shutting_down`]. Nothing is submitted.
    /// 2. The waits have `grace` to end by themselves. A mounted receiver has to stay open until then: begin the shutdown of the HTTP
    ///    server after this future has completed.
    /// 3. The waits that remain end with [`Error::is_shutting_down`], and with the id of their job. Their jobs go on, or are cancelled by
    ///    the [`DropPolicy`](crate::DropPolicy).
    /// 4. Cancels have 10 s to complete. Then the listener of the client closes, if it has one of its own. One that it shares with other
    ///    clients ([`webhooks`](ClientBuilder::webhooks)) stays open until the last of them is dropped.
    ///
    /// Returns the ids of the jobs that go on as far as is known, each once: store them to attach to the jobs later. It takes at most
    /// `grace`, 11 s, and the drain timeout of the listener.
    ///
    /// # Cancel safety
    ///
    /// After the first poll the client takes no calls, also if the future is dropped. Calling `shutdown` again, also at the same time,
    /// continues, and returns the same jobs.
    pub async fn shutdown(&self, grace: Duration) -> Vec<JobId> {
        let running = self.0.jobs.shutdown(grace).await;
        // Other daemons may still send events to a shared one.
        let own = self.0.webhooks.as_ref().filter(|_| self.0.owns_listener);
        if let Some(listener) = own.and_then(WebhookEndpoint::listener) {
            listener.shutdown().await;
        }
        running
    }

    /// The base URLs of the queue: the one that the client was made with, and the [others](ClientBuilder::other_addresses).
    #[must_use]
    pub fn addresses(&self) -> &[BaseUrl] {
        &self.0.addresses
    }

    /// Whether the handle names one of the addresses.
    pub(crate) fn is_at(&self, job: &JobHandle) -> bool {
        self.0.addresses.contains(job.base_url())
    }

    /// Whether [`shutdown`](Client::shutdown) was called.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.0.jobs.is_shutting_down()
    }

    /// The URL below which the daemon sends events. `None` without webhooks.
    #[must_use]
    pub fn webhook_url(&self) -> Option<&str> {
        self.0.webhooks.as_ref().map(WebhookEndpoint::public_url)
    }

    /// Counts since the client was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let webhooks = self.0.webhooks.as_ref().map(|endpoint| endpoint.notifier().stats()).unwrap_or_default();
        Stats { waits: self.0.jobs.stats(), webhooks }
    }
}

impl<T> Clone for Client<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api", &self.0.api).field("webhooks", &self.0.webhooks).finish_non_exhaustive()
    }
}
