use std::env;
use std::io::{self, IsTerminal as _};

use clap::Args;
use foreman_client::{Client, ClientBuilder};
use foreman_daemon::Daemon;

use crate::credentials::TokenArgs;
use crate::exit::Failure;
use crate::resume_command::ResumeCommand;
use crate::{backend, output};

/// The daemon to use, and the token for it.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArgs {
    /// The daemon's URL, such as http://127.0.0.1:11435. Without it, `submit`, `models` and `embed` use an embedded daemon on a
    /// terminal, and with --embedded
    #[arg(long, env = "FOREMAN_URL", hide_env_values = true)]
    url: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// Whether a command may start a daemon of its own.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct EmbeddedArgs {
    /// Use an embedded daemon, which ends with the command. This is the default only without --url and FOREMAN_URL, and only if
    /// stdin or stderr is a terminal
    #[arg(long)]
    embedded: bool,
}

/// A client, and its embedded daemon if no URL was set.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Stops when it is dropped.
    embedded: Option<Daemon>,
}

impl Connection {
    /// Whether the daemon, and so its jobs, end with this process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }
}

impl ConnectionArgs {
    /// The command that waits again for a job of the daemon at the URL. Not used without a URL.
    pub(crate) fn resume_command(&self) -> ResumeCommand {
        let (token_file, token) = self.token.source();
        ResumeCommand { url: self.url.clone().unwrap_or_default(), token_file, token }
    }

    /// The URL, if `FOREMAN_URL` does not set the same one.
    fn url_from_flag(&self) -> Option<String> {
        let is_in_environment = |url: &String| env::var("FOREMAN_URL").is_ok_and(|value| value == *url);
        self.url.clone().filter(|url| !is_in_environment(url))
    }

    /// Connects to the daemon at the URL, or starts an embedded daemon if that is wanted, or if there is no URL and a person sees
    /// the note about it. A script with a misspelled variable must not get a response of another backend.
    pub(crate) async fn connect_or_embed(
        mut self,
        EmbeddedArgs { embedded }: EmbeddedArgs,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Connection, Failure> {
        if embedded && self.url_from_flag().is_some() {
            return Err(Failure::Usage("--embedded has its own daemon, and cannot be used with --url".to_owned()));
        }
        if let Some(url) = self.take_url().filter(|_| !embedded) {
            return Ok(Connection { client: self.build_client(url, options).await?, embedded: None });
        }
        if !embedded && !io::stdin().is_terminal() && !io::stderr().is_terminal() {
            return Err(Failure::Usage(
                "no daemon URL; set --url or FOREMAN_URL, or use --embedded to run a daemon in this process".to_owned(),
            ));
        }
        let (backend, description) = backend::detect().await;
        let reason = if embedded { "" } else { "no --url or FOREMAN_URL; " };
        output::note(&format!("foreman: {reason}using an embedded daemon with {description}"));
        let daemon = Daemon::builder().backend(backend).start().await?;
        let client = options(Client::builder(daemon.url())).build().await?;
        Ok(Connection { client, embedded: Some(daemon) })
    }

    /// Connects to the daemon at the URL.
    pub(crate) async fn connect(
        mut self,
        options: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Failure> {
        let Some(url) = self.take_url() else {
            return Err(Failure::Usage("no daemon URL; set --url or FOREMAN_URL".to_owned()));
        };
        self.build_client(url, options).await
    }

    async fn build_client(
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

    /// An empty value counts as unset.
    fn take_url(&mut self) -> Option<String> {
        self.url.take().filter(|url| !url.is_empty())
    }
}
