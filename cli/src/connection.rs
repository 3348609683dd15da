use std::env;

use clap::Args;
use foreman_client::{Client, ClientBuilder};
use foreman_daemon::Daemon;

use crate::credentials::Token;
use crate::exit::Failure;
use crate::{backend, output};

/// Which daemon, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The daemon, such as http://127.0.0.1:11435
    #[arg(long, env = "FOREMAN_URL", hide_env_values = true)]
    url: Option<String>,
    #[command(flatten)]
    token: Token,
}

/// A client, and the daemon that was started for it if none was named.
pub(crate) struct Connected {
    pub(crate) client: Client,
    /// Ends when this is dropped.
    embedded: Option<Daemon>,
}

impl Connected {
    /// Whether the daemon ends with this command, and its jobs with it.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }
}

impl Connection {
    /// The URL, if it was given by a flag alone.
    pub(crate) fn flagged(&self) -> Option<String> {
        let is_known = |url: &String| env::var("FOREMAN_URL").is_ok_and(|known| known == *url);
        self.url.clone().filter(|url| !is_known(url))
    }

    /// The daemon that was named, or one in this process.
    pub(crate) async fn or_embedded(
        mut self,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Connected, Failure> {
        if let Some(url) = self.take_url() {
            return Ok(Connected { client: self.connect(url, options).await?, embedded: None });
        }
        let (backend, what) = backend::found().await;
        output::note(&format!("foreman: no --url and no FOREMAN_URL: a daemon in this process {what}"));
        let daemon = Daemon::builder().backend(backend).start().await?;
        let client = options(Client::builder(daemon.url())).build().await?;
        Ok(Connected { client, embedded: Some(daemon) })
    }

    /// The daemon that was named.
    pub(crate) async fn named(
        mut self,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let Some(url) = self.take_url() else {
            return Err(Failure::Usage("which daemon? Set --url or FOREMAN_URL".to_owned()));
        };
        self.connect(url, options).await
    }

    async fn connect(
        self,
        url: String,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let mut builder = options(Client::builder(url));
        if let Some(token) = self.token.read()? {
            builder = builder.token(token);
        }
        Ok(builder.build().await?)
    }

    /// A variable that is empty counts as unset.
    fn take_url(&mut self) -> Option<String> {
        self.url.take().filter(|url| !url.is_empty())
    }
}
