use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use foreman_daemon::{Builder, Daemon, WebhookHosts};

use super::place::Place;
use crate::backend::Choice;
use crate::credentials::{self, WebhookSecret};
use crate::exit::Failure;
use crate::logs::{self, Form};
use crate::secret::Secret;
use crate::signal::{Interrupts, Terminations};
use crate::{output, time};

/// Run a daemon: take jobs, keep them, have a model server do them
///
/// The first line on stdout is `listening on http://ADDRESS`; the log is on stderr (RUST_LOG sets what is in it). It ends on SIGTERM
/// or Ctrl-C: running jobs get the time of --drain, and a second signal ends it at once.
#[derive(Args)]
pub(crate) struct Serve {
    // Not in the docs, which would take the brackets for a link.
    #[arg(
        long,
        help = "Where to listen, such as 0.0.0.0:11435 or [::]:11435; port 0 is one of the system's choice",
        env = "FOREMAN_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:11435",
        value_name = "IP:PORT",
        value_parser = address
    )]
    listen: SocketAddr,
    /// Where jobs are kept: a file, or `memory`, from which they are gone with the daemon
    #[arg(long, env = "FOREMAN_STORE", hide_env_values = true, default_value = "memory", value_name = "FILE|memory")]
    store: Place,
    /// What runs the jobs: a server with Ollama's API (on its usual port if no URL is given), one with OpenAI's (llama.cpp, vLLM,
    /// LM Studio), or an echo to try things out
    #[arg(long, env = "FOREMAN_BACKEND", hide_env_values = true, value_name = "echo|ollama[=URL]|openai=URL")]
    backend: Choice,
    /// A file with the key that the backend asks for; else FOREMAN_BACKEND_KEY or the file of FOREMAN_BACKEND_KEY_FILE
    #[arg(long, value_name = "FILE")]
    backend_key_file: Option<PathBuf>,
    /// A bearer token that may ask; may be repeated. Others on this machine can see it, so rather use --token-file or FOREMAN_TOKEN
    #[arg(long = "token", value_name = "TOKEN")]
    tokens: Vec<Secret>,
    /// A file with the bearer tokens that may ask, one in a line; over FOREMAN_TOKEN and FOREMAN_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    webhook_secret: WebhookSecret,
    /// The only hosts that webhooks are sent to, as names, *.names and networks, with commas between them
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    allow_webhook_hosts: Vec<String>,
    /// Send no webhooks to loopback and private networks: for a daemon that strangers may use
    #[arg(long)]
    no_private_webhooks: bool,
    /// A file with further certificates, as PEM, that receivers of webhooks at https are trusted by
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    webhook_roots: Option<PathBuf>,
    /// How many jobs run at once
    #[arg(long, default_value_t = 1, value_name = "N")]
    workers: usize,
    /// How many jobs may be queued; a submission beyond is told to come again later
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    max_queue: usize,
    /// How many jobs of one model are taken in a row while others wait, so that a GPU need not load models in turn
    #[arg(long, default_value_t = 8, value_name = "N")]
    model_batch: usize,
    /// How often a job is run at most, after failures that may go away and after crashes
    #[arg(long, default_value_t = 3, value_name = "N")]
    attempts: u64,
    /// How long a job that ended is kept, and with it the key it was submitted with
    #[arg(long, default_value = "24h", value_parser = time::parse, value_name = "TIME")]
    keep: Duration,
    /// How long running jobs may go on when the daemon is told to end
    #[arg(long, default_value = "5s", value_parser = time::parse, value_name = "TIME")]
    drain: Duration,
    /// How the log is written
    #[arg(long, value_enum, default_value_t = Form::Human)]
    log: Form,
}

impl Serve {
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let log = self.log;
        let lost = self.store == Place::Memory;
        // Before there is anything to end: a signal that comes early ends the daemon as it should.
        let mut ending = (Interrupts::new()?, Terminations::new()?);
        let tokens = credentials::several(std::mem::take(&mut self.tokens), self.token_file.take(), "FOREMAN_TOKEN")?;
        let open = tokens.is_empty() && !self.listen.ip().is_loopback();
        let builder = self.builder()?.tokens(tokens);
        // Before the start, for jobs that were kept are run at once.
        logs::of_a_daemon(log);
        let daemon = builder.start().await?;
        output::text(&format!("listening on http://{}", daemon.local_addr()))?;
        tracing::info!(address = %daemon.local_addr(), "listening");
        if lost {
            tracing::warn!("jobs are kept in memory, and lost when the daemon ends; --store FILE keeps them");
        }
        if open {
            tracing::warn!(
                "there is no token: everybody who reaches this address may submit jobs, and see and cancel those of others"
            );
        }
        told(&mut ending).await;
        tracing::info!("ending; a second signal ends it at once");
        tokio::select! {
            () = daemon.shutdown() => {
                tracing::info!("ended");
                Ok(())
            }
            () = told(&mut ending) => Err(Failure::Interrupted),
        }
    }

    /// All but the tokens.
    fn builder(self) -> Result<Builder, Failure> {
        let key = credentials::one(None, self.backend_key_file, "FOREMAN_BACKEND_KEY")?;
        let mut builder = Daemon::builder()
            .listen(self.listen)
            .backend(self.backend.build(key)?)
            .workers(self.workers)
            .max_queue(self.max_queue)
            .model_batch(self.model_batch)
            .attempts(self.attempts)
            .keep(self.keep)
            .drain(self.drain)
            .private_webhooks(!self.no_private_webhooks);
        if let Place::File(path) = self.store {
            if let Some(directory) = path.parent()
                && !directory.as_os_str().is_empty()
                && !directory.exists()
            {
                return Err(Failure::Usage(format!("store: cannot be in {}, which is not there", directory.display())));
            }
            builder = builder.store(path);
        }
        if let Some(secret) = self.webhook_secret.read()? {
            builder = builder.webhook_secret(secret);
        }
        if !self.allow_webhook_hosts.is_empty() {
            builder = builder.allow_webhook_hosts(WebhookHosts::new(self.allow_webhook_hosts)?);
        }
        #[cfg(feature = "tls")]
        if let Some(file) = self.webhook_roots {
            builder = builder.webhook_roots(crate::input::file(&file)?);
        }
        Ok(builder)
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:11435")
}

/// Either of them.
async fn told((interrupts, terminations): &mut (Interrupts, Terminations)) {
    tokio::select! {
        () = interrupts.next() => {}
        () = terminations.next() => {}
    }
}
