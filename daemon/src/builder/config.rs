use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use foreman_protocol::http1::{BodyBytes, ByteBudget};
use foreman_protocol::webhook::Secret;
use tokio::sync::Semaphore;

#[cfg(feature = "postgres")]
use super::shared_options::shared_options;
use super::{Builder, LONGEST};
use crate::Error;
use crate::api::{AllowedHosts, BodyLimits, Tokens};
use crate::attempts::Attempts;
use crate::backend::{Backend, Echo};
#[cfg(feature = "tls")]
use crate::delivery::Roots;
use crate::delivery::{OwnServers, Policy, RetrySchedule};
use crate::server::ServerLimits;
use crate::store::QueueLimits;

/// A shorter lease would end while the database is merely busy.
#[cfg(feature = "postgres")]
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// The options of a [`Builder`], checked.
pub(super) struct Config {
    pub(super) tokens: Tokens,
    pub(super) admin: Tokens,
    pub(super) hosts: AllowedHosts,
    pub(super) secret: Option<Secret>,
    pub(super) schedule: RetrySchedule,
    pub(super) policy: Policy,
    #[cfg(feature = "tls")]
    pub(super) roots: Roots,
    pub(super) webhooks_at_once: usize,
    pub(super) webhooks_per_host: usize,
    pub(super) embeds_at_once: usize,
    pub(super) attempts: Attempts,
    pub(super) max_long_poll: Duration,
    /// In a second.
    pub(super) submissions_of_owner: Option<NonZeroU32>,
    pub(super) body_limits: BodyLimits,
    pub(super) limits: ServerLimits,
    pub(super) drain: Duration,
    pub(super) backends: Vec<BackendConfig>,
    pub(super) accept_unlisted_models: bool,
    pub(super) loaded_wait: Duration,
    pub(super) model_refresh: Duration,
    pub(super) store: StoreConfig,
}

/// A backend with a name that no other has.
pub(super) struct BackendConfig {
    pub(super) name: String,
    pub(super) workers: NonZeroUsize,
    pub(super) backend: Backend,
}

pub(super) struct StoreConfig {
    /// In memory if there is none.
    #[cfg(feature = "sqlite")]
    pub(super) path: Option<std::path::PathBuf>,
    #[cfg(feature = "postgres")]
    pub(super) postgres: Option<PostgresConfig>,
    pub(super) max_queue: QueueLimits,
    pub(super) memory_budget: usize,
    pub(super) batch: NonZeroUsize,
    pub(super) keep: Duration,
}

#[cfg(feature = "postgres")]
pub(super) struct PostgresConfig {
    pub(super) url: crate::store::DatabaseUrl,
    pub(super) roots: Roots,
    pub(super) lease: Duration,
    pub(super) name: Option<String>,
    /// Those that it publishes.
    pub(super) options: crate::store::SharedOptions,
}

impl Config {
    pub(super) fn new(builder: Builder) -> Result<Self, Error> {
        let max_queue = QueueLimits {
            all: positive("max_queue", builder.max_queue)?.get(),
            of_owner: match builder.max_queue_per_token {
                Some(jobs) => positive("max_queue_per_token", jobs)?.get(),
                // Room for the others.
                None if builder.tokens.len() > 1 => builder.max_queue - builder.max_queue / 4,
                None => builder.max_queue,
            },
            running_of_owner: match builder.max_running_per_token {
                Some(jobs) => positive("max_running_per_token", jobs)?.get(),
                None => usize::MAX,
            },
        };
        let webhooks_at_once = permits("webhooks_at_once", builder.webhooks_at_once)?;
        let webhooks_per_host = builder.webhooks_per_host.unwrap_or((webhooks_at_once / 4).max(1));
        #[cfg(feature = "postgres")]
        let postgres = postgres(&builder)?;
        let given = builder.backends.clone().unwrap_or_else(|| vec![Echo::new().into()]);
        let mut own = OwnServers::default();
        given.iter().flat_map(|backend| &backend.servers).for_each(|url| own.add_url(url));
        let backends = backends(given, positive("workers", builder.workers)?)?;
        let config = Self {
            tokens: tokens("token", &builder.tokens)?,
            admin: admin(&builder)?,
            hosts: hosts(&builder)?,
            secret: builder.webhook_secret.map(Secret::new).transpose()?,
            schedule: builder.webhook_retries.map(RetrySchedule::new).unwrap_or_default(),
            policy: Policy {
                hosts: builder.webhook_hosts,
                private: builder.private_webhooks,
                loopback: builder.loopback_webhooks,
                own,
            },
            #[cfg(feature = "tls")]
            roots: builder
                .webhook_roots
                .as_deref()
                .map_or_else(|| Ok(Roots::none()), |pem| Roots::from_pem("webhook_roots", pem))?,
            webhooks_at_once,
            webhooks_per_host: positive("webhooks_per_host", webhooks_per_host)?.get(),
            embeds_at_once: permits("embeds_at_once", builder.embeds_at_once)?,
            attempts: Attempts {
                most: NonZeroU64::new(builder.attempts)
                    .ok_or_else(|| Error::config("attempts", "must be at least 1"))?
                    .get(),
                pause: builder.attempt_pause.min(LONGEST),
            },
            max_long_poll: Duration::from_secs(builder.max_long_poll.min(LONGEST).as_secs()),
            submissions_of_owner: match builder.max_submissions_per_token {
                Some(per_second) => Some(
                    NonZeroU32::new(per_second)
                        .ok_or_else(|| Error::config("max_submissions_per_token", "must be at least 1"))?,
                ),
                None => None,
            },
            body_limits: body_limits(builder.body_limit, builder.body_budget)?,
            limits: ServerLimits {
                connections: positive("max_connections", builder.max_connections)?.get(),
                connections_of_peer: match builder.max_connections_per_peer {
                    Some(connections) => positive("max_connections_per_peer", connections)?.get(),
                    None => builder.max_connections - builder.max_connections / 4,
                },
                header_timeout: not_zero("header_timeout", builder.header_timeout)?.min(LONGEST),
                write_timeout: not_zero("write_timeout", builder.write_timeout)?.min(LONGEST),
            },
            drain: builder.drain.min(LONGEST),
            backends,
            accept_unlisted_models: builder.accept_unlisted_models,
            loaded_wait: builder.loaded_wait.min(LONGEST),
            model_refresh: not_zero("model_refresh", builder.model_refresh)?.min(LONGEST),
            store: StoreConfig {
                #[cfg(feature = "sqlite")]
                path: builder.store,
                #[cfg(feature = "postgres")]
                postgres,
                max_queue,
                memory_budget: positive("memory_budget", builder.memory_budget)?.get(),
                batch: positive("model_batch", builder.model_batch)?,
                keep: not_zero("keep", builder.keep)?,
            },
        };
        #[cfg(feature = "postgres")]
        let config = config.with_shared_options();
        Ok(config)
    }

    #[cfg(feature = "postgres")]
    fn with_shared_options(mut self) -> Self {
        let options = shared_options(&self);
        if let Some(postgres) = &mut self.store.postgres {
            postgres.options = options;
        }
        self
    }
}

fn backends(backends: Vec<Backend>, workers: NonZeroUsize) -> Result<Vec<BackendConfig>, Error> {
    const NAME: &str = "must have a name of 1 to 64 ASCII letters, digits, `-`, `_` and `.` each";
    let mut checked = Vec::<BackendConfig>::new();
    for backend in backends {
        let name = backend.name.clone().unwrap_or_else(|| "default".to_owned());
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_valid) {
            return Err(Error::config("backends", NAME));
        }
        if checked.iter().any(|other| other.name == name) {
            return Err(Error::config("backends", format!("two of them have the name `{name}`")));
        }
        let workers = backend.workers.map_or(Ok(workers), |workers| positive("workers", workers))?;
        checked.push(BackendConfig { name, workers, backend });
    }
    if checked.is_empty() {
        return Err(Error::config("backends", "must not be empty"));
    }
    Ok(checked)
}

#[cfg(feature = "postgres")]
fn postgres(builder: &Builder) -> Result<Option<PostgresConfig>, Error> {
    let Some(url) = &builder.postgres else { return Ok(None) };
    #[cfg(feature = "sqlite")]
    if builder.store.is_some() {
        return Err(Error::config("postgres", "must not be set together with store"));
    }
    // An echo ends the jobs of all daemons.
    if builder.backends.is_none() {
        return Err(Error::config("backends", "must be set for a queue that daemons share"));
    }
    if builder.lease < SHORTEST_LEASE {
        return Err(Error::config("lease", "must be at least 1 s"));
    }
    Ok(Some(PostgresConfig {
        url: url.parse()?,
        roots: match &builder.postgres_roots {
            Some(pem) => Roots::from_pem("postgres_roots", pem)?,
            None => Roots::none(),
        },
        lease: builder.lease.min(LONGEST),
        name: builder.name.clone(),
        options: crate::store::SharedOptions::default(),
    }))
}

fn tokens(option: &'static str, tokens: &[String]) -> Result<Tokens, Error> {
    if tokens.iter().any(String::is_empty) {
        return Err(Error::config(option, "must not be empty"));
    }
    if !tokens.iter().all(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(Error::config(option, "must be visible ASCII without blanks"));
    }
    Ok(Tokens::new(tokens))
}

fn admin(builder: &Builder) -> Result<Tokens, Error> {
    if builder.admin_token.as_ref().is_some_and(|admin| builder.tokens.contains(admin)) {
        return Err(Error::config("admin_token", "must differ from the other tokens"));
    }
    tokens("admin_token", builder.admin_token.as_slice())
}

fn body_limits(body: usize, all: usize) -> Result<BodyLimits, Error> {
    let body = positive("body_limit", body)?.get();
    if all < BodyBytes::memory(body) {
        return Err(Error::config("body_budget", "must be at least twice body_limit"));
    }
    Ok(BodyLimits { body, all: ByteBudget::new(all) })
}

/// Without a token, nobody but this machine reaches the daemon, unless it is said to be open to all.
fn hosts(builder: &Builder) -> Result<AllowedHosts, Error> {
    if builder.allow_anonymous || !builder.tokens.is_empty() {
        return Ok(AllowedHosts::Any);
    }
    if !builder.listen.ip().to_canonical().is_loopback() {
        return Err(Error::config(
            "listen",
            "must be a loopback address if there is no token and allow_anonymous is not set",
        ));
    }
    Ok(AllowedHosts::Loopback)
}

fn positive(option: &'static str, number: usize) -> Result<NonZeroUsize, Error> {
    NonZeroUsize::new(number).ok_or_else(|| Error::config(option, "must be at least 1"))
}

/// A semaphore panics when it has more permits.
fn permits(option: &'static str, number: usize) -> Result<usize, Error> {
    Ok(positive(option, number)?.get().min(Semaphore::MAX_PERMITS))
}

fn not_zero(option: &'static str, time: Duration) -> Result<Duration, Error> {
    if time.is_zero() { Err(Error::config(option, "must not be zero")) } else { Ok(time) }
}
