//! [`Client`]: the pieces put together for those who do not want to think about layers.

mod builder;
mod http;
mod webhooks;

use std::fmt;
use std::sync::Arc;

use tower::retry::Retry;
use tower::{Service, ServiceBuilder, ServiceExt};

pub use self::builder::ClientBuilder;
pub use self::http::{DefaultHttp, MakeHttp, OwnHttp, OwnService};
use crate::api::{Api, Call, CancelJob, GetJob, HttpService, JobPage, ListJobs, ListModels, Transport};
use crate::retry::RetrySubmission;
use crate::source::PushStats;
use crate::wait::{Wait, WaitLayer, WaitStats};
use crate::webhook::WebhookListener;
use crate::{EmbedRequest, EmbedResponse, Error, JobId, JobResult, JobStatus, ModelInfo, Notifier, SubmitRequest};

/// The service of [`Client::jobs`]: submissions are repeated where that is safe.
pub type Jobs<T = Transport> = Wait<Retry<RetrySubmission, Api<T>>, Api<T>>;

/// A client of one daemon: submits jobs and waits for them, by webhook where it can, else by polling.
///
/// It is the default stack of this crate's layers with short methods on top; [`jobs`](Client::jobs) gives the service itself, to
/// stack more layers on. Cloning is cheap, and clones share connections, the webhook listener and the statistics. The listener
/// closes with the last clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::{Client, SubmitRequest};
/// # let daemon = foreman_daemon::Daemon::start().await?;
/// # let url = daemon.url();
///
/// let client = Client::builder(url).build().await?;
/// let request = SubmitRequest::builder("echo").user("Why is the sky blue?").build()?;
/// let result = client.submit(request).await?.into_success()?;
/// println!("{}", result.content().unwrap_or_default());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client<T = Transport> {
    api: Api<T>,
    jobs: Jobs<T>,
    notifier: Option<Notifier>,
    webhook_url: Option<Arc<str>>,
    listener: Option<Arc<WebhookListener>>,
}

/// What a [`Client`] and its clones have done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The waits: how they ended, what polling rescued.
    pub waits: WaitStats,
    /// The webhooks: what was delivered, what was refused and why. All zero when polling only; shared with the other clients of
    /// a shared notifier.
    pub push: PushStats,
}

impl Client {
    /// Begins a client for the daemon at `base_url`, such as `http://127.0.0.1:8080`; it may have a path and a trailing slash.
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
    /// Submits a job and waits for it to finish. A job that failed is a result too; see
    /// [`into_success`](JobResult::into_success).
    ///
    /// # Errors
    ///
    /// When the submission fails, when polls fail for too long, or at the deadline. After the submission the error knows the
    /// [`job_id`](Error::job_id), to [`wait`](Client::wait) for it again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the job alone, unless the drop policy says otherwise and no clone of the request is left;
    /// calling again with a clone attaches to it.
    pub async fn submit(&self, request: SubmitRequest) -> Result<JobResult, Error> {
        self.jobs.clone().oneshot(request).await
    }

    /// Waits for a job that was submitted before, by polling.
    ///
    /// # Errors
    ///
    /// As [`submit`](Client::submit); [`Error::is_not_found`] at once if the daemon does not know the job.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the job alone.
    pub async fn wait(&self, job_id: JobId) -> Result<JobResult, Error> {
        self.jobs.clone().oneshot(job_id).await
    }

    /// The state of a job now.
    ///
    /// # Errors
    ///
    /// [`Error::is_not_found`] if the daemon does not know the job; otherwise as any exchange.
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
    /// [`Error::is_unsupported`] if the daemon cannot cancel; [`Error::is_not_found`] if it does not know the job; status 409
    /// if the job has ended already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves open whether the job is cancelled.
    pub async fn cancel(&self, job_id: &JobId) -> Result<JobStatus, Error> {
        let refused = match self.call(CancelJob(job_id.clone())).await {
            Err(error) if error.is_not_found() => error,
            answer => return answer,
        };
        // 404 is said of a job that is not known, and by a daemon that cannot cancel: the job itself tells which.
        match (self.status(job_id).await, refused.status()) {
            (Ok(_), Some(status)) => Err(crate::api::cannot_cancel(status).with_source(refused)),
            _ => Err(refused),
        }
    }

    /// A page of the daemon's jobs, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsupported`] if the daemon cannot list jobs; otherwise as any exchange.
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
    /// As any exchange.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn models(&self) -> Result<Vec<ModelInfo>, Error> {
        self.call(ListModels).await
    }

    /// Embeds texts, without queueing.
    ///
    /// # Errors
    ///
    /// As any exchange.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn embed(&self, request: EmbedRequest) -> Result<EmbedResponse, Error> {
        self.call(request).await
    }

    async fn call<C: Call>(&self, call: C) -> Result<C::Response, Error> {
        let mut api = self.api.clone();
        std::future::poll_fn(|cx| Service::<C>::poll_ready(&mut api, cx)).await?;
        api.call(call).await
    }
}

impl<T: Clone> Client<T> {
    /// The bare service, to stack layers on: a `Service<SubmitRequest>` and a `Service<JobId>` whose response is the finished
    /// job.
    #[must_use]
    pub fn jobs(&self) -> Jobs<T> {
        self.jobs.clone()
    }

    /// The endpoints as services, without waiting.
    #[must_use]
    pub fn api(&self) -> Api<T> {
        self.api.clone()
    }
}

impl<T> Client<T> {
    /// Below which URL the daemon sends events; `None` when polling only.
    #[must_use]
    pub fn webhook_url(&self) -> Option<&str> {
        self.webhook_url.as_deref()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let push = self.notifier.as_ref().map(Notifier::stats).unwrap_or_default();
        Stats { waits: self.jobs.stats(), push }
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("api", &self.api)
            .field("webhook_url", &self.webhook_url)
            .field("listener", &self.listener.as_ref().map(|listener| listener.local_addr()))
            .finish_non_exhaustive()
    }
}
