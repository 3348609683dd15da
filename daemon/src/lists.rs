use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
#[cfg(any(test, feature = "postgres"))]
use tokio::sync::futures::Notified;

use crate::ModelInfo;
use crate::store::ListedBackend;

/// The models that the backends of this daemon list, those that they have loaded, and which backends are unavailable. A store that other
/// daemons share publishes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    backends: Vec<ListedBackend>,
    /// The same as JSON, once something is known of one of them.
    json: Option<Arc<str>>,
}

impl Lists {
    /// The names of the backends, none of which has listed its models.
    pub(crate) fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let unknown = |name: &str| ListedBackend { name: name.to_owned(), ..ListedBackend::default() };
        let state = State { backends: names.into_iter().map(unknown).collect(), json: None };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// A backend has listed its models.
    pub(crate) fn set(&self, index: usize, models: &[ModelInfo], takes_any: bool) {
        self.change(index, |backend| (backend.models, backend.takes_any) = (Some(models.to_vec()), takes_any));
    }

    /// A backend was found to be available or not.
    pub(crate) fn set_available(&self, index: usize, is_available: bool) {
        self.change(index, |backend| backend.unavailable = !is_available);
    }

    /// A backend has reported which models are loaded. `None` if that is not known.
    pub(crate) fn set_loaded(&self, index: usize, loaded: Option<Vec<String>>) {
        self.change(index, |backend| backend.loaded = loaded);
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut ListedBackend)) {
        let mut state = self.state();
        let Some(backend) = state.backends.get_mut(index) else { return };
        change(backend);
        let json = match serde_json::to_string(&state.backends) {
            Ok(json) => json,
            Err(error) => return tracing::error!(%error, "lists of models cannot be encoded"),
        };
        if state.json.as_deref() != Some(json.as_str()) {
            state.json = Some(json.into());
            self.0.changed.notify_one();
        }
    }

    pub(crate) fn backends(&self) -> Vec<ListedBackend> {
        self.state().backends.clone()
    }

    /// All lists as JSON. `None` before a backend has listed its models or was found unavailable.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn json(&self) -> Option<Arc<str>> {
        self.state().json.clone()
    }

    /// Completes when the lists have changed.
    #[cfg(any(test, feature = "postgres"))]
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// No method panics while it has the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;

    #[tokio::test]
    async fn change_is_notified_once_and_an_equal_list_is_none() {
        let lists = Lists::new(["a", "b"]);
        assert!(lists.json().is_none() && spawn(lists.changed()).poll().is_pending());
        lists.set(1, &[ModelInfo::new("m")], false);
        assert!(spawn(lists.changed()).poll().is_ready());
        let json = lists.json().unwrap();
        assert!(json.starts_with(r#"[{"name":"a","models":null,"#) && json.contains(r#""name":"m""#), "{json}");
        lists.set(1, &[ModelInfo::new("m")], false);
        assert!(spawn(lists.changed()).poll().is_pending());
        lists.set(1, &[], true);
        assert!(spawn(lists.changed()).poll().is_ready());
        lists.set_loaded(1, Some(vec!["m".to_owned()]));
        assert!(spawn(lists.changed()).poll().is_ready());
        assert!(lists.json().unwrap().contains(r#""loaded":["m"]"#));
        lists.set(2, &[], true);
        assert_eq!(lists.backends().len(), 2);
    }
}
