use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::ModelNames;

/// How long a model server is not asked again after it has turned out that it does not report which models are loaded.
const SILENCE: Duration = Duration::from_secs(600);

/// How many loaded models of one backend are known at most.
const MAX_MODELS: usize = 64;

/// The longest name of a loaded model that is known, in bytes.
const MAX_NAME: usize = 256;

/// The models that the server of a backend has in memory, as far as it reports them.
#[derive(Debug, Default)]
pub(crate) struct LoadedModels {
    state: Mutex<State>,
    outdated: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What the server has last reported. `None` if that is not known.
    reported: Option<Vec<String>>,
    /// The models of running jobs, which are loaded or are being loaded, with the number of jobs.
    running: BTreeMap<Box<str>, usize>,
    /// The model of the last job that has ended since the report, unless the report has it.
    ended: Option<Box<str>>,
    /// Until when the server is not asked.
    silent_until: Option<Instant>,
}

/// A job of a model runs until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningModel<'a> {
    loaded: &'a LoadedModels,
    model: Box<str>,
}

impl LoadedModels {
    /// A job of this model, or a request for embeddings, begins.
    pub(crate) fn run(&self, model: &str) -> RunningModel<'_> {
        *self.state().running.entry(model.into()).or_default() += 1;
        RunningModel { loaded: self, model: model.into() }
    }

    /// Whether the server may be asked: not if it does not report what it has loaded.
    pub(super) fn may_ask(&self) -> bool {
        self.state().silent_until.is_none_or(|until| until <= Instant::now())
    }

    /// The server does not report what it has loaded.
    pub(super) fn not_offered(&self) {
        let mut state = self.state();
        (state.reported, state.silent_until) = (None, Some(Instant::now() + SILENCE));
    }

    /// The server has reported what it has loaded, or that could not be found out. Returns what is known of it.
    pub(super) fn report(&self, names: Option<Vec<String>>) -> Option<Vec<String>> {
        let mut state = self.state();
        (state.silent_until, state.ended) = (None, None);
        state.reported =
            names.map(|names| names.into_iter().filter(|name| name.len() <= MAX_NAME).take(MAX_MODELS).collect());
        state.reported.clone()
    }

    /// What the server has last reported. `None` if that is not known.
    pub(crate) fn reported(&self) -> Option<Vec<String>> {
        self.state().reported.clone()
    }

    /// The models that need not be loaded for a job, with those of running jobs. `None` if the server does not report them.
    pub(super) fn names(&self) -> Option<ModelNames> {
        let state = self.state();
        let reported = state.reported.as_ref()?.iter().map(String::as_str);
        Some(reported.chain(state.running.keys().chain(&state.ended).map(|name| &**name)).collect())
    }

    /// Whether this model need not be loaded, as far as is known.
    pub(crate) fn has(&self, model: &str) -> bool {
        self.names().is_some_and(|names| names.contain(model))
    }

    /// Completes when a job of a model has ended that the server had not reported.
    pub(super) async fn outdated(&self) {
        self.outdated.notified().await;
    }

    /// No method panics while it has the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningModel<'_> {
    fn drop(&mut self) {
        let mut state = self.loaded.state();
        if let Some(jobs) = state.running.get_mut(&self.model) {
            *jobs -= 1;
            if *jobs == 0 {
                state.running.remove(&self.model);
            }
        }
        let reported: Option<ModelNames> = state.reported.as_ref().map(|names| names.iter().collect());
        if !reported.is_some_and(|names| names.contain(&self.model)) {
            state.ended = Some(self.model.clone());
            self.loaded.outdated.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;

    use super::*;

    fn has(loaded: &LoadedModels, models: &[&str]) -> Vec<bool> {
        let names = loaded.names().unwrap();
        models.iter().map(|model| names.contain(model)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn models_of_jobs_count_until_the_next_report() {
        let loaded = LoadedModels::default();
        drop(loaded.run("a"));
        assert!(loaded.names().is_none(), "nothing is reported");
        loaded.report(Some(vec!["a:latest".to_owned()]));
        assert!(spawn(loaded.outdated()).poll().is_ready());
        let jobs = [loaded.run("a"), loaded.run("b"), loaded.run("b")];
        assert_eq!(has(&loaded, &["a", "b", "c"]), [true, true, false]);
        let [a, one, other] = jobs;
        drop((a, one));
        assert!(spawn(loaded.outdated()).poll().is_ready(), "b may have been loaded, and a unloaded");
        drop(other);
        assert_eq!(has(&loaded, &["a", "b"]), [true, true]);
        loaded.report(Some(vec!["b".to_owned()]));
        assert_eq!(has(&loaded, &["a", "b"]), [false, true]);
        assert!(spawn(loaded.outdated()).poll().is_ready());
        drop(loaded.run("b"));
        assert!(spawn(loaded.outdated()).poll().is_pending(), "the server has reported it");
        assert_eq!(loaded.reported(), Some(vec!["b".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_does_not_report_is_rarely_asked() {
        let loaded = LoadedModels::default();
        assert!(loaded.may_ask());
        loaded.not_offered();
        assert!(!loaded.may_ask());
        tokio::time::advance(SILENCE).await;
        assert!(loaded.may_ask());
        loaded.report(None);
        assert!(loaded.may_ask() && loaded.names().is_none());
    }

    #[test]
    fn names_are_bounded() {
        let loaded = LoadedModels::default();
        let names = (0..100).map(|number| number.to_string()).chain(["x".repeat(257)]).rev().collect();
        assert_eq!(loaded.report(Some(names)).unwrap().len(), 64);
        assert_eq!(loaded.reported().unwrap()[0], "99");
    }
}
