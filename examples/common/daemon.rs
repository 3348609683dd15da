//! The daemon of a gateway example: that of the environment, or one of its own.

use std::env::var;
use std::time::Duration;

use foreman_client::{BoxError, Client, ClientBuilder};
use foreman_daemon::{Daemon, Echo};

pub(crate) struct ExampleDaemon {
    url: String,
    token: Option<String>,
    pub(crate) secret: String,
    embedded: Option<Daemon>,
}

impl ExampleDaemon {
    /// Reads `FOREMAN_URL`, `FOREMAN_TOKEN` and `FOREMAN_WEBHOOK_SECRET`. Without a URL, it
    /// starts a daemon whose echo backend takes 300 ms for a job.
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let secret = var("FOREMAN_WEBHOOK_SECRET").unwrap_or_else(|_| "a shared secret".to_owned());
        let token = var("FOREMAN_TOKEN").ok();
        if let Ok(url) = var("FOREMAN_URL") {
            return Ok(Self { url, token, secret, embedded: None });
        }
        let echo = Echo::new().delay(Duration::from_millis(300));
        let daemon = Daemon::builder().backend(echo).webhook_secret(&secret).start().await?;
        Ok(Self { url: daemon.url(), token: None, secret, embedded: Some(daemon) })
    }

    /// Starts a client of the daemon.
    pub(crate) fn client(&self) -> ClientBuilder {
        let client = Client::builder(&self.url);
        match &self.token {
            Some(token) => client.token(token),
            None => client,
        }
    }

    pub(crate) async fn shutdown(self) {
        if let Some(daemon) = self.embedded {
            daemon.shutdown().await;
        }
    }
}

/// The first model that the daemon lists.
pub(crate) async fn first_model(client: &Client) -> Result<String, BoxError> {
    let models = client.models().await?;
    Ok(models.into_iter().next().ok_or("the daemon lists no model")?.name)
}
