use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::loaded::LoadedModels;
use super::patience::Patience;
use crate::api::EmbedLimit;
use crate::availability::Availability;
use crate::backend::{Backend, ListLoaded, ListModels};
use crate::failure::failure;
use crate::gauge::Gauge;
use crate::lists::Lists;
use crate::store::{ModelNames, Wanted};
use crate::{BoxError, ModelInfo};

/// How long a backend may take to report which models are loaded.
const LOADED_TIMEOUT: Duration = Duration::from_secs(2);

/// Which jobs a backend takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Those of every model: no other backend has the queue.
    Every,
    /// Those of the models that it lists, since other daemons have the queue. Those of every model if that is how it works: then it is the
    /// only backend of its daemon.
    ListedUnlessAny,
    /// Those of the models that it lists.
    Listed,
}

/// A backend of the daemon, and what is known of it.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its place among the backends.
    pub(crate) index: usize,
    pub(crate) name: Box<str>,
    pub(crate) backend: Backend,
    pub(crate) workers: NonZeroUsize,
    pub(crate) availability: Availability,
    pub(crate) embed_limit: EmbedLimit,
    /// How many of its workers have a job.
    pub(crate) running: Gauge,
    pub(crate) loaded: LoadedModels,
    pub(crate) patience: Patience,
    takes: Takes,
    /// Where it publishes its models.
    lists: Lists,
    /// `None` before it has first listed them.
    models: Mutex<Option<Arc<ModelNames>>>,
    /// Whether the first request for them has ended, with a list or without.
    asked: watch::Sender<bool>,
}

impl Member {
    pub(crate) fn new(
        index: usize,
        name: &str,
        backend: Backend,
        workers: NonZeroUsize,
        embeds_at_once: usize,
        takes: Takes,
        lists: Lists,
    ) -> Self {
        Self {
            index,
            name: name.into(),
            backend,
            workers,
            availability: Availability::new(name, index, lists.clone()),
            embed_limit: EmbedLimit::new(embeds_at_once),
            running: Gauge::default(),
            loaded: LoadedModels::default(),
            patience: Patience::default(),
            takes,
            lists,
            models: Mutex::new(None),
            asked: watch::Sender::new(false),
        }
    }

    /// Waits until the backend may take jobs: if those are not of every model, until its first list of models has come or has failed. Before
    /// that it would also take jobs of models that it does not have, and these would fail for good.
    pub(crate) async fn asked(&self) {
        if !self.takes_any() {
            // The sender is in `self`, so that there is no error.
            _ = self.asked.subscribe().wait_for(|asked| *asked).await;
        }
    }

    /// The first request for the models has ended, or a later one.
    pub(crate) fn has_been_asked(&self) {
        self.asked.send_replace(true);
    }

    /// Whether it must list its models before it may take jobs, and has not done so.
    pub(super) fn is_unlisted(&self) -> bool {
        !self.takes_any() && self.models().is_none()
    }

    /// The jobs that it takes. If it cannot list its models, it may have any.
    pub(crate) fn wanted(&self) -> Wanted {
        let models = self.models().clone().filter(|_| !self.takes_any());
        Wanted { backend: self.index, models }
    }

    /// Whether it runs jobs of a model, as far as is known.
    pub(crate) fn may_run(&self, model: &str) -> bool {
        self.models().as_ref().is_none_or(|models| self.takes_any() || models.contain(model))
    }

    fn takes_any(&self) -> bool {
        match self.takes {
            Takes::Every => true,
            Takes::ListedUnlessAny => self.backend.any_model,
            Takes::Listed => false,
        }
    }

    /// Whether other backends may leave jobs to it, as far as is known.
    pub(super) fn takes_jobs(&self) -> bool {
        *self.asked.borrow() && self.availability.outage().is_none()
    }

    /// How many models it has. `None` before it has first listed them.
    pub(crate) fn model_count(&self) -> Option<usize> {
        self.models().as_ref().map(|models| models.len())
    }

    /// Lists its models, and publishes them.
    pub(crate) async fn list_models(&self) -> Result<Vec<ModelInfo>, BoxError> {
        let models = self.backend.models.clone().oneshot(ListModels).await?;
        let names: ModelNames = models.iter().map(|model| &model.name).collect();
        self.lists.set(self.index, &models, self.takes_any());
        *self.models() = Some(Arc::new(names));
        Ok(models)
    }

    /// Asks which models are loaded, and publishes them. After a failure it is not known; the backend is as available as before.
    pub(crate) async fn ask_loaded(&self) {
        let Some(service) = self.backend.loaded.clone().filter(|_| self.loaded.may_ask()) else { return };
        let known = match timeout(LOADED_TIMEOUT, service.oneshot(ListLoaded))
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
        {
            Ok(Some(names)) => {
                self.loaded.report(Some(names.into_iter().filter(|name| self.lists_model(name)).collect()))
            }
            Ok(None) => {
                tracing::debug!(backend = %self.name, "the backend does not report which models are loaded");
                self.loaded.not_offered();
                None
            }
            Err(error) => {
                tracing::debug!(backend = %self.name, error = %failure(error.as_ref()), "it is not known which models are loaded");
                self.loaded.report(None)
            }
        };
        self.lists.set_loaded(self.index, known);
    }

    /// The backend does not respond, so that it is not known which models are loaded.
    pub(crate) fn forget_loaded(&self) {
        if self.backend.loaded.is_some() {
            self.loaded.report(None);
            self.lists.set_loaded(self.index, None);
        }
    }

    fn lists_model(&self, model: &str) -> bool {
        self.models().as_ref().is_none_or(|models| models.contain(model))
    }

    /// No method panics while it has the lock.
    fn models(&self) -> std::sync::MutexGuard<'_, Option<Arc<ModelNames>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
