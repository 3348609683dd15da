//! The backends of a daemon, what is known of each, and which of them runs what.

mod loaded;
mod member;
mod patience;
mod refresh;
mod union;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub(crate) use self::member::{Member, Takes};
use self::patience::own_jobs;
pub(crate) use self::refresh::refresh_models;
use self::union::Union;
use crate::store::{Fleet, ModelNames, Wanted};
use crate::{BoxError, ModelInfo};

/// How long a submission waits for the lists of models, if none that is known has its model.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest time between two refreshes that submissions ask for.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// All backends of a daemon; at least one.
#[derive(Debug)]
pub(crate) struct Backends {
    members: Vec<Arc<Member>>,
    /// Whether a job whose model no backend lists is accepted.
    accept_unlisted: bool,
    /// How long a backend leaves a job to another one that has its model loaded.
    pub(crate) loaded_wait: Duration,
    /// When the lists were last refreshed for a submission.
    refreshed: Mutex<Option<Instant>>,
}

impl Backends {
    /// `members`: at least one.
    pub(crate) fn new(members: Vec<Arc<Member>>, accept_unlisted: bool, loaded_wait: Duration) -> Self {
        Self { members, accept_unlisted, loaded_wait, refreshed: Mutex::new(None) }
    }

    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Whether jobs are distributed by their models. A single backend gets all jobs.
    pub(crate) fn are_several(&self) -> bool {
        self.members.len() > 1
    }

    /// The names of those that run no jobs at present.
    pub(crate) fn unavailable(&self) -> Vec<&str> {
        self.members
            .iter()
            .filter(|member| member.availability.outage().is_some())
            .map(|member| &*member.name)
            .collect()
    }

    /// The backends that may run a job of this model. It is empty if there is none, also after their lists were refreshed.
    pub(crate) async fn with_model(&self, model: &str) -> Vec<Arc<Member>> {
        let known = self.known_with_model(model);
        if !known.is_empty() {
            return known;
        }
        self.refresh().await;
        self.known_with_model(model)
    }

    /// Those that a submission is accepted for; none if only other daemons may run it. `None` if it is refused.
    pub(crate) async fn for_submission(&self, model: &str, fleet: Option<&Fleet>) -> Option<Vec<Arc<Member>>> {
        let known = self.known_with_model(model);
        if !known.is_empty() || fleet.is_some_and(|fleet| fleet.lists_elsewhere(model)) {
            return Some(known);
        }
        let found = self.with_model(model).await;
        let accepts = self.accept_unlisted || fleet.is_some_and(|fleet| fleet.may_be_elsewhere(model));
        (accepts || !found.is_empty()).then_some(found)
    }

    /// The wanted jobs without those that a backend leaves to others, here or at other daemons, because these have their models loaded.
    /// `None` if it leaves none.
    pub(crate) fn own_jobs(&self, member: &Member, wanted: &Wanted, fleet: Option<&Fleet>) -> Option<Wanted> {
        if self.loaded_wait.is_zero() {
            return None;
        }
        let loaded = member.loaded.names().filter(|_| self.are_several() || fleet.is_some())?;
        let others = self.members.iter().filter(|other| other.index != member.index && other.takes_jobs());
        let here = others.filter_map(|other| other.loaded.names());
        let elsewhere: Vec<_> = here.chain(fleet.into_iter().flat_map(Fleet::loaded_elsewhere)).collect();
        own_jobs(wanted, &loaded, &elsewhere)
    }

    /// The models of all backends that respond, and those that the other daemons list, each once.
    ///
    /// # Errors
    ///
    /// If there are none and a backend does not respond: the error of the first.
    pub(crate) async fn list_models(&self, fleet: Option<&Fleet>) -> Result<Vec<ModelInfo>, BoxError> {
        let (mut union, mut failure) = (Union::new(self.are_several()), None);
        let this = fleet.map(|fleet| &*fleet.name);
        for (member, listed) in
            self.members.iter().zip(join_all(self.members.iter().map(|one| one.list_models())).await)
        {
            match listed {
                Ok(listed) => {
                    let loaded: ModelNames = member.loaded.reported().iter().flatten().collect();
                    listed.into_iter().for_each(|model| {
                        let is_loaded = loaded.contain(&model.name);
                        union.add(model, &member.name, this, is_loaded);
                    });
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        for other in fleet.into_iter().flat_map(Fleet::others) {
            for backend in other.backends.iter().flatten() {
                let loaded: ModelNames = backend.loaded.iter().flatten().collect();
                for model in backend.models.iter().flatten() {
                    let is_loaded = loaded.contain(&model.name);
                    union.add(model.clone(), &backend.name, Some(&other.name), is_loaded);
                }
            }
        }
        match (failure, union.into_models()) {
            (Some(error), models) if models.is_empty() => Err(error),
            (_, models) => Ok(models),
        }
    }

    fn known_with_model(&self, model: &str) -> Vec<Arc<Member>> {
        self.members.iter().filter(|member| member.may_run(model)).map(Arc::clone).collect()
    }

    /// Refreshes all lists, once a second at most.
    async fn refresh(&self) {
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH_INTERVAL) {
            return;
        }
        // A backend that does not respond keeps the list that it had.
        _ = timeout(REFRESH_TIMEOUT, join_all(self.members.iter().map(|member| member.list_models()))).await;
        *refreshed = Some(Instant::now());
    }
}
