use std::fmt;
use std::sync::Arc;

use tower::util::{BoxCloneSyncService, ServiceExt as _};
use tower::{Service, service_fn};

use super::{Chat, ChatResponse, Echo};
use crate::{BaseUrl, BoxError, EmbedRequest, EmbedResponse, Error, InvalidValue, JobSpec, ModelInfo};

/// The request for a backend's models (`GET /api/tags`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListModels;

/// The request for the models that a backend has in memory. The response has their names; it is `None` if the backend does not report them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListLoaded;

/// Checks a submission.
type Check = Arc<dyn Fn(&JobSpec) -> Result<(), InvalidValue> + Send + Sync>;

/// Runs the jobs of a [`Daemon`](crate::Daemon): tower services for chats, models and embeddings.
///
/// For each request the daemon clones the service, waits until it is ready, and calls it once, so that tower's layers work as
/// usual: a `ConcurrencyLimit` limits the chats in flight below the number of workers, and a `Timeout` limits an attempt. To
/// cancel a running job, the daemon drops the future. An error becomes the job's `error`, with its causes, unless it is
/// [`Transient`](crate::Transient). A panic fails this job only. A future must not block the runtime: use
/// `tokio::task::spawn_blocking`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_daemon::Error> {
/// use foreman_daemon::ModelInfo;
/// use foreman_daemon::{Backend, Chat, ChatResponse, Daemon, ListModels};
/// use tower::service_fn;
///
/// let count = service_fn(async |chat: Chat| {
///     let content = format!("{} messages", chat.messages().len());
///     ChatResponse::from_value(&serde_json::json!({
///         "model": chat.model(),
///         "message": { "role": "assistant", "content": content },
///         "done": true,
///     }))
/// });
/// let models = service_fn(async |_: ListModels| {
///     Ok::<_, foreman_daemon::Error>(vec![ModelInfo::new("count")])
/// });
///
/// let backend = Backend::new(count).models(models);
/// let daemon = Daemon::builder().backend(backend).start().await?;
/// daemon.shutdown().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Backend {
    pub(crate) chat: BoxCloneSyncService<Chat, ChatResponse, BoxError>,
    pub(crate) models: BoxCloneSyncService<ListModels, Vec<ModelInfo>, BoxError>,
    /// `None` if it cannot report them.
    pub(crate) loaded: Option<BoxCloneSyncService<ListLoaded, Option<Vec<String>>, BoxError>>,
    /// `None` is rejected with 501.
    pub(crate) embed: Option<BoxCloneSyncService<EmbedRequest, EmbedResponse, BoxError>>,
    pub(crate) check: Check,
    /// The servers that it calls.
    pub(crate) servers: Vec<BaseUrl>,
    pub(crate) name: Option<String>,
    pub(crate) workers: Option<usize>,
    /// Whether it runs jobs of every model, whatever it lists: it has no service that lists them, or needs none.
    pub(crate) any_model: bool,
}

impl Backend {
    /// A backend for chats only. It lists no models, accepts each submission, and embeddings are rejected with 501.
    #[must_use]
    pub fn new<S>(chat: S) -> Self
    where
        S: Service<Chat, Response = ChatResponse> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        let models = service_fn(async |_: ListModels| Ok::<_, BoxError>(Vec::new()));
        let check = Arc::new(|_: &JobSpec| Ok(()));
        Self {
            chat: erased(chat),
            models: erased(models),
            loaded: None,
            embed: None,
            check,
            servers: Vec::new(),
            name: None,
            workers: None,
            any_model: true,
        }
    }

    /// A backend from one service for chats, models and embeddings. A service that also reports which models are loaded is set by
    /// [`loaded`](Self::loaded).
    #[must_use]
    pub fn from_service<S>(service: S) -> Self
    where
        S: Service<Chat, Response = ChatResponse>
            + Service<ListModels, Response = Vec<ModelInfo>>
            + Service<EmbedRequest, Response = EmbedResponse>
            + Clone
            + Send
            + Sync
            + 'static,
        <S as Service<Chat>>::Error: Into<BoxError>,
        <S as Service<Chat>>::Future: Send + 'static,
        <S as Service<ListModels>>::Error: Into<BoxError>,
        <S as Service<ListModels>>::Future: Send + 'static,
        <S as Service<EmbedRequest>>::Error: Into<BoxError>,
        <S as Service<EmbedRequest>>::Future: Send + 'static,
    {
        Self::new(service.clone()).models(service.clone()).embed(service)
    }

    /// Sets the service that lists models.
    #[must_use]
    pub fn models<S>(mut self, models: S) -> Self
    where
        S: Service<ListModels, Response = Vec<ModelInfo>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        (self.models, self.any_model) = (erased(models), false);
        self
    }

    /// Sets the service that reports which models are in memory: see [several backends](crate#several-backends). It is called after the
    /// service that lists models, and after a job of a model that was not loaded. If it fails, or takes more than 2 s, it is not known what
    /// is loaded. The same holds if it returns `None`, and then it is not called for 10 min.
    ///
    /// [`Ollama`](crate::Ollama) and [`OpenAi`](crate::OpenAi) set it when they are converted. Default: it is not known what is loaded.
    #[must_use]
    pub fn loaded<S>(mut self, loaded: S) -> Self
    where
        S: Service<ListLoaded, Response = Option<Vec<String>>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.loaded = Some(erased(loaded));
        self
    }

    /// Sets the service for embeddings.
    #[must_use]
    pub fn embed<S>(mut self, embed: S) -> Self
    where
        S: Service<EmbedRequest, Response = EmbedResponse> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        self.embed = Some(erased(embed));
        self
    }

    /// Sets the check of submissions. One that it returns an error for is rejected with 422 and the error, and no job is
    /// created. It must be quick, and runs before each submission is stored. Default: each submission is accepted.
    ///
    /// ```
    /// # fn main() -> Result<(), foreman_daemon::Error> {
    /// use foreman_daemon::{Backend, InvalidValue, JobSpec, OpenAi};
    /// use tower::limit::ConcurrencyLimit;
    ///
    /// let openai = OpenAi::new("http://127.0.0.1:8080")?;
    /// let chat = ConcurrencyLimit::new(openai.clone(), 2);
    /// let backend = Backend::new(chat)
    ///     .models(openai)
    ///     .check(|spec: &JobSpec| match spec.tools() {
    ///         None => OpenAi::check(spec),
    ///         Some(_) => Err(InvalidValue::new("tools", "are not supported")),
    ///     });
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn check(mut self, check: impl Fn(&JobSpec) -> Result<(), InvalidValue> + Send + Sync + 'static) -> Self {
        self.check = Arc::new(check);
        self
    }

    /// Sets the name of this backend, by which logs, metrics and the list of models refer to it: 1 to 64 ASCII letters, digits, `-`, `_`
    /// and `.`, which [`Builder::start`](crate::Builder::start) checks. Default: `default`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how many jobs this backend runs concurrently. Default: [`Builder::workers`](crate::Builder::workers).
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Adds the URL of a server that this backend calls. Webhooks are never sent to its host and port. [`Ollama`](crate::Ollama) and
    /// [`OpenAi`](crate::OpenAi) add their own when they are converted; within layers of tower they cannot.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_config`](crate::Error::is_invalid_config) for an invalid URL.
    pub fn server(mut self, url: impl AsRef<str>) -> Result<Self, Error> {
        self.servers.push(BaseUrl::parse("server", url.as_ref())?);
        Ok(self)
    }
}

fn erased<S, R>(service: S) -> BoxCloneSyncService<R, S::Response, BoxError>
where
    S: Service<R> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    R: 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

impl From<Echo> for Backend {
    fn from(echo: Echo) -> Self {
        Self { any_model: true, ..Self::from_service(echo) }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("embeds", &self.embed.is_some()).finish_non_exhaustive()
    }
}
