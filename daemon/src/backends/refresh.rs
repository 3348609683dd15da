use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Backends;
use crate::failure::failure;
use crate::jobs::Jobs;

/// How long a backend may take to list its models.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Refreshes the list of models of one backend, so that it gets the jobs of models that were added to it.
pub(crate) async fn refresh_models(backends: Arc<Backends>, index: usize, interval: Duration, jobs: Arc<Jobs>) {
    let Some(member) = backends.members().get(index) else { return };
    let mut responds = None;
    loop {
        let before = member.wanted().models;
        let listed = timeout(LIST_TIMEOUT, member.list_models()).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        match &listed {
            Ok(models) if responds != Some(true) => {
                tracing::info!(backend = %member.name, models = models.len(), "backend lists its models");
            }
            Err(error) if responds != Some(false) => {
                let error = failure(error.as_ref());
                tracing::warn!(backend = %member.name, error, "backend does not list its models");
            }
            _ => {}
        }
        responds = Some(listed.is_ok());
        if member.wanted().models != before {
            jobs.wake_workers();
        }
        sleep(interval).await;
    }
}
