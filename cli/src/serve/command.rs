use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use foreman_daemon::{Builder, Daemon, WebhookHosts};
use secrecy::SecretString;

use super::log::DaemonLog;
use super::open_files;
use super::queue_args::QueueArgs;
use super::store_location::StoreLocation;
use super::unechoed::Unechoed;
use crate::backend::{BackendLimits, BackendSpec, Workers, build_all};
use crate::credentials::{self, AdminTokenArgs, WebhookSecretArgs};
use crate::exit::Failure;
use crate::logging::LogFormat;
use crate::signal::SignalListener;
use crate::{duration, output};

/// Run a daemon: accept jobs, queue them, and run them on a model server
///
/// Prints `listening on http://ADDRESS` as the first line on stdout, and its log on stderr (level: info; RUST_LOG overrides it).
/// The log does not slow the daemon down: lines are dropped, and counted, while nobody reads stderr and 10,000 of them wait.
/// It logs at the start whether the backend answers, and does not stop if not.
/// SIGTERM and Ctrl-C stop it: running jobs may continue for the time of --drain. A second signal stops it immediately.
#[derive(Args)]
pub(crate) struct Serve {
    // Not a doc comment, where the brackets would be a link.
    #[arg(
        long,
        help = "The address to listen on, such as 0.0.0.0:11435 or [::]:11435, which need a token; with port 0 the system selects a free \
                port",
        env = "FOREMAN_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:11435",
        value_name = "IP:PORT",
        value_parser = address
    )]
    listen: SocketAddr,
    /// Where jobs are stored: a file, which is created if missing; a PostgreSQL database, postgres://USER@HOST/DATABASE, whose queue
    /// several daemons share; or `memory`, whose jobs are lost when the daemon stops. Give a URL with a password by FOREMAN_STORE, since
    /// other users of this machine can read arguments; its special characters must be percent-encoded (`@` is `%40`). The database must be
    /// PostgreSQL 14 or newer, with the encoding UTF8, a schema for foreman alone, and no pooler that shares connections between
    /// transactions
    #[arg(
        long,
        env = "FOREMAN_STORE",
        hide_env_values = true,
        default_value = "memory",
        value_name = "FILE|postgres://…|memory"
    )]
    store: Unechoed<StoreLocation>,
    /// A PEM file with certificate authorities to trust for the database, in addition to those of the system
    #[cfg(feature = "postgres")]
    #[arg(long, value_name = "FILE")]
    store_roots: Option<PathBuf>,
    /// How long the jobs of a daemon that shares a database are left to it without a sign of it; then another daemon runs them again
    /// [default: 30s]
    #[cfg(feature = "postgres")]
    #[arg(long, value_parser = duration::parse, value_name = "DURATION")]
    lease: Option<Duration>,
    /// The name of this daemon among those that share a database [default: the address that it listens on]
    #[cfg(feature = "postgres")]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The backend that runs jobs: a server with Ollama's API (default URL: http://127.0.0.1:11434), a server with OpenAI's API
    /// (llama.cpp, vLLM, LM Studio), or `echo`, which repeats the prompt without a model. May be repeated with names, such as
    /// gpu1:ollama=http://10.0.0.5:11434: then a job goes to a backend that has its model
    #[arg(
        long = "backend",
        env = "FOREMAN_BACKEND",
        hide_env_values = true,
        required = true,
        value_name = "[NAME:]echo|ollama[=URL]|openai=URL"
    )]
    backends: Vec<Unechoed<BackendSpec>>,
    /// Let `echo` take jobs from a database that daemons share. It ends jobs of every model, also those that other daemons would run
    #[cfg(feature = "postgres")]
    #[arg(long)]
    allow_echo: bool,
    /// With several backends, or several daemons that share a database, accept jobs whose model none of them has; such a job waits until
    /// one does [default: reject them with 422]
    #[arg(long)]
    accept_unlisted_models: bool,
    /// How long an idle backend leaves a job to another one, also at another daemon of the queue, that has its model loaded; then it loads
    /// the model itself. With 0 it leaves none
    #[arg(long, default_value = "5s", value_parser = duration_or_zero, value_name = "DURATION")]
    loaded_wait: Duration,
    /// A file with the API key for the backend openai=URL. Overrides FOREMAN_BACKEND_KEY and FOREMAN_BACKEND_KEY_FILE
    #[arg(long, value_name = "FILE")]
    backend_key_file: Option<PathBuf>,
    #[command(flatten)]
    backend_limits: BackendLimits,
    /// A bearer token that clients may use; may be repeated. Other users of this machine can read it; prefer --token-file or
    /// FOREMAN_TOKEN. [default: clients need no token, and only loopback addresses can be listened on]
    #[arg(long = "token", value_name = "TOKEN")]
    tokens: Vec<SecretString>,
    /// A file with bearer tokens that clients may use, one per line. Overrides FOREMAN_TOKEN and FOREMAN_TOKEN_FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    admin_token: AdminTokenArgs,
    /// Serve everyone who can reach the address, without a token: all of them can submit jobs, and read and cancel all jobs, and so
    /// can web pages in their browsers
    #[arg(long)]
    allow_anonymous: bool,
    #[command(flatten)]
    webhook_secret: WebhookSecretArgs,
    /// Send webhooks to these hosts only: names, wildcards such as *.example.com, addresses and networks such as 10.0.0.0/8,
    /// separated by commas [default: all hosts]
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    allow_webhook_hosts: Vec<String>,
    /// Send no webhooks to loopback addresses and private networks, for a daemon with untrusted users
    #[arg(long)]
    no_private_webhooks: bool,
    /// Send webhooks to loopback addresses for every client, and by every name [default: only for clients that connect over loopback,
    /// and only to addresses, localhost and the names of --allow-webhook-hosts]
    #[arg(long)]
    loopback_webhooks: bool,
    /// The maximum number of webhooks that are sent at once
    #[arg(long, default_value_t = 64, value_name = "N")]
    webhooks_at_once: usize,
    /// The maximum number of webhooks that are sent at once to one scheme, host and port, so that a receiver that does not respond
    /// leaves room for others [default: a quarter of --webhooks-at-once, at least 1]
    #[arg(long, value_name = "N")]
    webhooks_per_host: Option<usize>,
    /// A PEM file with certificate authorities to trust for https webhooks, in addition to those of the system
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    webhook_roots: Option<PathBuf>,
    /// The number of jobs that each backend runs at once [default: 1]; NAME=N is for one of several backends. May be repeated
    #[arg(long, value_name = "[NAME=]N")]
    workers: Vec<Workers>,
    /// The number of requests for embeddings that run at once, beside the jobs; 16 more wait, and any other is rejected with 429
    #[arg(long, default_value_t = 1, value_name = "N")]
    embeds_at_once: usize,
    /// The maximum number of open connections; at the limit, the one that has waited longest for a request makes room. The limit of
    /// open files (ulimit -n) is raised to its maximum; if it does not leave 64 files for the rest, and one for each worker and webhook,
    /// there are fewer connections
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_connections: usize,
    #[command(flatten)]
    queue: QueueArgs,
    /// How long running jobs may continue after a signal to stop, such as 5s or 1m
    #[arg(long, default_value = "5s", value_parser = duration::parse, value_name = "DURATION")]
    drain: Duration,
    /// The format of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    log: LogFormat,
}

impl Serve {
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let format = self.log;
        let location = self.store.clone().check("--store")?;
        let in_memory = matches!(location, StoreLocation::Memory);
        // Before the start, so that an early signal stops the daemon in the same way.
        let mut stop_signals = StopSignals::listen()?;
        let tokens = credentials::read_many(&self.tokens, self.token_file.take(), "FOREMAN_TOKEN")?;
        #[cfg(feature = "postgres")]
        self.check_database_options(&location)?;
        let is_public = tokens.is_empty() && !self.listen.ip().to_canonical().is_loopback();
        if is_public && !self.allow_anonymous {
            return Err(Failure::Usage(format!(
                "no token is set, and others can reach {}: set a token (--token-file or FOREMAN_TOKEN), listen on a loopback \
                 address such as 127.0.0.1:11435, or allow everyone to use the daemon by --allow-anonymous",
                self.listen
            )));
        }
        let number_of_workers = self.workers.iter().map(|workers| workers.number).sum::<usize>().max(1);
        let workers = number_of_workers.saturating_mul(self.backends.len());
        let (max_connections, webhooks) = (self.max_connections, self.webhooks_at_once);
        let (number_of_tokens, store) = (tokens.len(), location.to_string());
        let builder = self.builder(location)?.tokens(tokens);
        // Before the start, since stored jobs run immediately.
        let mut log = DaemonLog::start(format);
        let max_connections = open_files::max_connections(max_connections, workers, webhooks);
        let daemon = builder.max_connections(max_connections).start().await?;
        output::text(&format!("listening on http://{}", daemon.local_addr()))?;
        tracing::info!(address = %daemon.local_addr(), tokens = number_of_tokens, store, "listening");
        if in_memory {
            tracing::warn!("jobs are stored in memory and lost when the daemon stops; use --store to keep them");
        }
        if is_public {
            tracing::warn!(
                "no token is set (--allow-anonymous): everyone who can reach this address can submit jobs, and read and cancel all jobs"
            );
        }
        tokio::select! {
            () = stop_signals.recv() => {}
            () = log.report_dropped_lines() => {}
            error = daemon.failed() => {
                // Stored jobs go on at the next start, by whoever restarts the process.
                daemon.shutdown().await;
                return Err(error.into());
            }
        }
        tracing::info!("shutting down; a second signal stops the daemon immediately");
        tokio::select! {
            () = daemon.shutdown() => {
                tracing::info!("stopped");
                Ok(())
            }
            () = stop_signals.recv() => Err(Failure::Interrupted),
        }
    }

    /// An option of a shared queue has no effect without one. A misspelled store would go unnoticed.
    #[cfg(feature = "postgres")]
    fn check_database_options(&self, location: &StoreLocation) -> Result<(), Failure> {
        let given = [
            ("--name", self.name.is_some()),
            ("--lease", self.lease.is_some()),
            ("--store-roots", self.store_roots.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) if !matches!(location, StoreLocation::Database(_)) => Err(Failure::Usage(format!(
                "{option} has an effect only with a database that daemons share: --store postgres://USER@HOST/DATABASE (the store is {location})"
            ))),
            _ => Ok(()),
        }
    }

    /// The daemon's builder, with every option except the tokens and the number of connections.
    fn builder(self, location: StoreLocation) -> Result<Builder, Failure> {
        let backends: Vec<_> =
            self.backends.into_iter().map(|backend| backend.check("--backend")).collect::<Result<_, _>>()?;
        let key = credentials::read_one(None, self.backend_key_file, "FOREMAN_BACKEND_KEY")?;
        let mut builder = Daemon::builder()
            .listen(self.listen)
            .allow_anonymous(self.allow_anonymous)
            .backends(build_all(&backends, key.as_deref(), &self.backend_limits, &self.workers)?)
            .accept_unlisted_models(self.accept_unlisted_models)
            .loaded_wait(self.loaded_wait)
            .embeds_at_once(self.embeds_at_once)
            .drain(self.drain)
            .private_webhooks(!self.no_private_webhooks)
            .loopback_webhooks(self.loopback_webhooks)
            .webhooks_at_once(self.webhooks_at_once);
        // The last one counts, as for other options.
        if let Some(workers) = self.workers.iter().rfind(|workers| workers.backend.is_none()) {
            builder = builder.workers(workers.number);
        }
        builder = self.queue.apply(builder);
        if let Some(webhooks) = self.webhooks_per_host {
            builder = builder.webhooks_per_host(webhooks);
        }
        #[cfg(feature = "postgres")]
        if let StoreLocation::Database(url) = &location {
            if !self.allow_echo && backends.iter().any(BackendSpec::is_echo) {
                return Err(Failure::Usage(
                    "--backend echo would end the jobs of all daemons that share the database, without a model; --allow-echo permits that"
                        .to_owned(),
                ));
            }
            builder = builder.postgres(secrecy::ExposeSecret::expose_secret(url));
            builder = self.lease.into_iter().fold(builder, Builder::lease);
            builder = self.name.into_iter().fold(builder, Builder::name);
            if let Some(file) = self.store_roots {
                builder = builder.postgres_roots(crate::input::file(&file)?);
            }
        }
        if let StoreLocation::File(path) = location {
            if let Some(directory) = path.parent()
                && !directory.as_os_str().is_empty()
                && !directory.exists()
            {
                let message = format!("cannot open {}: no such directory: {}", path.display(), directory.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, message).into());
            }
            builder = builder.store(path);
        }
        if let Some(token) = self.admin_token.read()? {
            builder = builder.admin_token(token);
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

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") { Ok(Duration::ZERO) } else { duration::parse(text) }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:11435")
}

/// The signals that stop the daemon.
struct StopSignals {
    interrupt: SignalListener,
    terminate: SignalListener,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: SignalListener::interrupt()?, terminate: SignalListener::terminate()? })
    }

    /// Waits for the next signal of either kind.
    async fn recv(&mut self) {
        tokio::select! {
            () = self.interrupt.recv() => {}
            () = self.terminate.recv() => {}
        }
    }
}
