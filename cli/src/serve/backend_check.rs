use std::time::Duration;

use foreman_client::{Client, Error, ModelInfo};

use crate::exit::chain;

/// A backend that does not list its models within this time does not answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Logs whether the backend of the daemon at this URL lists its models, so that a wrong URL or key is known before the first job.
pub(super) async fn check_backend(url: String, token: Option<String>) {
    match models(url, token).await {
        Ok(models) => tracing::info!(models = models.len(), "backend available"),
        Err(error) => {
            let reason = error.reason().map_or_else(|| chain(&error), str::to_owned);
            tracing::warn!(%reason, "the backend does not answer");
        }
    }
}

/// The models, by the daemon's API, which is the same for every backend.
async fn models(url: String, token: Option<String>) -> Result<Vec<ModelInfo>, Error> {
    let mut builder = Client::builder(url).polling().request_timeout(TIMEOUT);
    if let Some(token) = token {
        builder = builder.token(token);
    }
    builder.build().await?.models().await
}
