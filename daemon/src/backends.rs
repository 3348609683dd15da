//! The backends of a daemon, what is known of each, and which of them runs what.

mod member;
mod refresh;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub(crate) use self::member::Member;
pub(crate) use self::refresh::refresh_models;
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
    /// When the lists were last refreshed for a submission.
    refreshed: Mutex<Option<Instant>>,
}

impl Backends {
    /// `members`: at least one.
    pub(crate) fn new(members: Vec<Arc<Member>>, accept_unlisted: bool) -> Self {
        Self { members, accept_unlisted, refreshed: Mutex::new(None) }
    }

    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Whether jobs are distributed by their models. A single backend gets all jobs.
    pub(crate) fn are_several(&self) -> bool {
        self.members.len() > 1
    }

    /// Whether none of them runs jobs at present.
    pub(crate) fn are_unavailable(&self) -> bool {
        self.members.iter().all(|member| member.availability.outage().is_some())
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

    /// Those that a submission is accepted for. `None` if it is refused.
    pub(crate) async fn for_submission(&self, model: &str) -> Option<Vec<Arc<Member>>> {
        let found = self.with_model(model).await;
        (self.accept_unlisted || !found.is_empty()).then_some(found)
    }

    /// The models of all backends that respond, each once.
    ///
    /// # Errors
    ///
    /// If none responds: the error of the first.
    pub(crate) async fn list_models(&self) -> Result<Vec<ModelInfo>, BoxError> {
        let (mut models, mut failure) = (Vec::<ModelInfo>::new(), None);
        for (member, listed) in
            self.members.iter().zip(join_all(self.members.iter().map(|one| one.list_models())).await)
        {
            match listed {
                Ok(listed) => listed.into_iter().for_each(|model| self.add(&mut models, model, member)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if models.is_empty() => Err(error),
            _ => Ok(models),
        }
    }

    fn add(&self, models: &mut Vec<ModelInfo>, mut model: ModelInfo, member: &Member) {
        if !self.are_several() {
            models.push(model);
            return;
        }
        match models.iter_mut().find(|other| other.name == model.name) {
            Some(other) => other.backends.push(member.name.to_string()),
            None => {
                model.backends = vec![member.name.to_string()];
                models.push(model);
            }
        }
    }

    fn known_with_model(&self, model: &str) -> Vec<Arc<Member>> {
        if !self.are_several() {
            return self.members.clone();
        }
        self.members.iter().filter(|member| member.may_have(model)).map(Arc::clone).collect()
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
