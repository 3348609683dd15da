use foreman_protocol::HumanDuration;

use super::config::Config;
use crate::store::SharedOptions;

/// The options that the daemons of one queue should have in common: those of the queue, and what clients and receivers of webhooks see of
/// it.
pub(super) fn shared_options(config: &Config) -> SharedOptions {
    let secret = config.secret.as_ref().map(|secret| secret.sign(b"foreman"));
    let store = &config.store;
    let options = SharedOptions::default()
        .with_secret("token", config.tokens.bytes())
        .with_secret("admin_token", config.admin.bytes())
        .with_secret("webhook_secret", secret.unwrap_or_default())
        .with("accept_unlisted_models", &config.accept_unlisted_models)
        .with("attempts", &config.attempts.most)
        .with("keep", &HumanDuration(store.keep))
        .with("max_queue", &store.max_queue.all)
        .with("max_queue_per_token", &store.max_queue.of_owner)
        .with("max_running_per_token", &store.max_queue.running_of_owner)
        .with("model_batch", &store.batch);
    match &store.postgres {
        Some(postgres) => options.with("lease", &HumanDuration(postgres.lease)),
        None => options,
    }
}
