use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Backends;
use crate::backend::Unavailable;
use crate::failure::failure;
use crate::jobs::Jobs;

/// How long a backend may take to list its models.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest pause between two requests for the loaded models that jobs cause.
const LOADED_PAUSE: Duration = Duration::from_secs(1);

/// Refreshes the list of models of one backend, so that it gets the jobs of models that were added to it, and what is known of the loaded
/// ones. It also finds an outage while no job does.
pub(crate) async fn refresh_models(backends: Arc<Backends>, index: usize, interval: Duration, jobs: Arc<Jobs>) {
    let Some(member) = backends.members().get(index) else { return };
    let mut responds = None;
    loop {
        let before = member.wanted().models;
        let listed =
            timeout(LIST_TIMEOUT, member.list_models()).await.unwrap_or_else(|elapsed| match member.is_unlisted() {
                // A server that starts. Until it lists its models, it would fail the jobs of others.
                true => Err(Unavailable::new(elapsed).into()),
                false => Err(elapsed.into()),
            });
        match &listed {
            Ok(models) if responds != Some(true) => {
                tracing::info!(backend = %member.name, models = models.len(), "backend available");
            }
            Err(error) => {
                let reason = failure(error.as_ref());
                if let Some(unavailable) = Unavailable::find(error.as_ref()) {
                    member.availability.failed(&reason, unavailable.asked_pause());
                } else if responds != Some(false) {
                    tracing::warn!(backend = %member.name, reason, "the backend does not list its models");
                }
            }
            Ok(_) => {}
        }
        match &listed {
            Ok(_) => member.ask_loaded().await,
            Err(_) => member.forget_loaded(),
        }
        // After an outage has been noted, in which the workers take no jobs.
        member.has_been_asked();
        responds = Some(listed.is_ok());
        if member.wanted().models != before {
            jobs.wake_workers();
        }
        let next = Instant::now() + interval;
        // A job may have loaded a model, and unloaded another one. The clock is compared too: `timeout_at` lets what is ready
        // pass also after its deadline.
        while Instant::now() < next && timeout_at(next, member.loaded.outdated()).await.is_ok() {
            member.ask_loaded().await;
            sleep(LOADED_PAUSE).await;
        }
    }
}
