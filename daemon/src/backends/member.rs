use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tower::ServiceExt as _;

use crate::api::EmbedLimit;
use crate::availability::Availability;
use crate::backend::{Backend, ListModels};
use crate::gauge::Gauge;
use crate::store::{ModelNames, Wanted};
use crate::{BoxError, ModelInfo};

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
    /// Whether it takes jobs of its own models only.
    by_model: bool,
    /// `None` before it has first listed them.
    models: Mutex<Option<Arc<ModelNames>>>,
}

impl Member {
    /// `by_model`: whether it takes jobs of its own models only.
    pub(crate) fn new(
        index: usize,
        name: &str,
        backend: Backend,
        workers: NonZeroUsize,
        embeds_at_once: usize,
        by_model: bool,
    ) -> Self {
        Self {
            index,
            name: name.into(),
            backend,
            workers,
            availability: Availability::new(name),
            embed_limit: EmbedLimit::new(embeds_at_once),
            running: Gauge::default(),
            by_model,
            models: Mutex::new(None),
        }
    }

    /// The jobs that it takes. Before it has first listed its models, it may have any.
    pub(crate) fn wanted(&self) -> Wanted {
        let models = if self.by_model { self.models().clone() } else { None };
        Wanted { backend: self.index, models }
    }

    /// Whether it has a model, as far as is known.
    pub(crate) fn may_have(&self, model: &str) -> bool {
        self.models().as_ref().is_none_or(|models| models.contain(model))
    }

    /// How many models it has. `None` before it has first listed them.
    pub(crate) fn model_count(&self) -> Option<usize> {
        self.models().as_ref().map(|models| models.len())
    }

    /// Lists its models, and keeps their names.
    pub(crate) async fn list_models(&self) -> Result<Vec<ModelInfo>, BoxError> {
        let models = self.backend.models.clone().oneshot(ListModels).await?;
        let names: ModelNames = models.iter().map(|model| &model.name).collect();
        *self.models() = Some(Arc::new(names));
        Ok(models)
    }

    /// No method panics while it has the lock.
    fn models(&self) -> std::sync::MutexGuard<'_, Option<Arc<ModelNames>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
