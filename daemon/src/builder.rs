mod config;
mod open_store;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod shared_options;
mod start;
mod webhooks;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::time::Duration;

use super::backend::Backend;
use super::delivery::WebhookHosts;
#[cfg(feature = "faults")]
use super::faults::Faults;

/// Longer times are cut to this: hyper adds timeouts to the current time without a check for overflow.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Configures a [`Daemon`](super::Daemon). [`start`](Builder::start) checks the options.
#[derive(Clone)]
#[must_use = "a builder does nothing until `start` is awaited"]
pub struct Builder {
    listen: SocketAddr,
    tokens: Vec<String>,
    admin_token: Option<String>,
    allow_anonymous: bool,
    webhook_secret: Option<String>,
    webhook_retries: Option<Vec<Duration>>,
    webhooks_at_once: usize,
    webhooks_per_host: Option<usize>,
    webhook_hosts: Option<WebhookHosts>,
    private_webhooks: bool,
    loopback_webhooks: bool,
    #[cfg(feature = "tls")]
    webhook_roots: Option<Vec<u8>>,
    workers: usize,
    embeds_at_once: usize,
    max_queue: usize,
    max_queue_per_token: Option<usize>,
    max_running_per_token: Option<usize>,
    max_submissions_per_token: Option<u32>,
    memory_budget: usize,
    model_batch: usize,
    max_long_poll: Duration,
    body_limit: usize,
    body_budget: usize,
    max_connections: usize,
    max_connections_per_peer: Option<usize>,
    write_timeout: Duration,
    header_timeout: Duration,
    drain: Duration,
    /// An echo if there are none.
    backends: Option<Vec<Backend>>,
    accept_unlisted_models: bool,
    loaded_wait: Duration,
    model_refresh: Duration,
    #[cfg(feature = "sqlite")]
    store: Option<PathBuf>,
    #[cfg(feature = "postgres")]
    postgres: Option<String>,
    #[cfg(feature = "postgres")]
    postgres_roots: Option<Vec<u8>>,
    #[cfg(feature = "postgres")]
    lease: Duration,
    #[cfg(feature = "postgres")]
    name: Option<String>,
    keep: Duration,
    attempts: u64,
    attempt_pause: Duration,
    #[cfg(feature = "faults")]
    faults: Option<Faults>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tokens: Vec::new(),
            admin_token: None,
            allow_anonymous: false,
            webhook_secret: None,
            webhook_retries: None,
            webhooks_at_once: 64,
            webhooks_per_host: None,
            webhook_hosts: None,
            private_webhooks: true,
            loopback_webhooks: false,
            #[cfg(feature = "tls")]
            webhook_roots: None,
            workers: 1,
            embeds_at_once: 1,
            max_queue: 10_000,
            max_queue_per_token: None,
            max_running_per_token: None,
            max_submissions_per_token: None,
            memory_budget: 1024 * 1024 * 1024,
            model_batch: 8,
            max_long_poll: Duration::from_secs(60),
            body_limit: 16 * 1024 * 1024,
            body_budget: 256 * 1024 * 1024,
            max_connections: 1024,
            max_connections_per_peer: None,
            write_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            backends: None,
            accept_unlisted_models: false,
            loaded_wait: Duration::from_secs(5),
            model_refresh: Duration::from_secs(60),
            #[cfg(feature = "sqlite")]
            store: None,
            #[cfg(feature = "postgres")]
            postgres: None,
            #[cfg(feature = "postgres")]
            postgres_roots: None,
            #[cfg(feature = "postgres")]
            lease: Duration::from_secs(30),
            #[cfg(feature = "postgres")]
            name: None,
            keep: Duration::from_secs(24 * 60 * 60),
            attempts: 3,
            attempt_pause: Duration::from_secs(1),
            #[cfg(feature = "faults")]
            faults: None,
        }
    }
}

/// Server and tokens.
impl Builder {
    /// Sets the address to listen on. Without a token, it must be a loopback address unless
    /// [`allow_anonymous`](Self::allow_anonymous) is set. Default: 127.0.0.1, with a port that the operating system chooses.
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listen = address.into();
        self
    }

    /// Adds a bearer token. If there is any, each request except `GET /healthz` must have one of them, and
    /// [sees only the jobs of its own token](crate#tokens). Default: none, and requests need no token; see
    /// [`allow_anonymous`](Self::allow_anonymous).
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into());
        self
    }

    /// Adds several bearer tokens, each as by [`token`](Self::token). An empty iterator changes nothing.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tokens.extend(tokens.into_iter().map(Into::into));
        self
    }

    /// Sets the bearer token of operators, which must differ from the others. It allows to [drain](crate#draining) daemons and to list
    /// them, and nothing else. Default: none; then only a daemon that serves this machine alone, without tokens, can be asked to drain.
    pub fn admin_token(mut self, token: impl Into<String>) -> Self {
        self.admin_token = Some(token.into());
        self
    }

    /// Sets whether a daemon without a token serves everyone: it may listen on every address, and its requests may name any host.
    /// Everyone who can reach it can submit jobs, and read and cancel all jobs. So can web pages in the browser of someone who can
    /// reach it, by DNS rebinding. Without this option and without a token, the daemon listens on loopback addresses only, and
    /// rejects requests whose `Host` is not localhost or a loopback address with a 403. With a token it has no effect. Default:
    /// false.
    pub fn allow_anonymous(mut self, allow: bool) -> Self {
        self.allow_anonymous = allow;
        self
    }

    /// Sets the largest request body, in bytes. Default: 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how many bytes the buffers of all request bodies have together while they are read and stored. A body counts twice, since a
    /// buffer that grows has room for as much again, so this is at least twice the [`body_limit`](Self::body_limit). A request beyond that
    /// gets a 503. Default: 256 MiB.
    pub fn body_budget(mut self, bytes: usize) -> Self {
        self.body_budget = bytes;
        self
    }

    /// Sets the number of open connections. Event streams take at most half of them, and long polls three eighths: a long poll beyond that
    /// is an ordinary poll. At the limit, the connection that has waited longest for a request makes room. If all of them have requests,
    /// 16 more are accepted for health checks and metrics, and the rest is refused with 503. Default: 1,024.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets the number of open connections of one IP address. At the limit, the one of the address that has waited longest for a request
    /// makes room. Without one, the connection is refused with 503. Default: three quarters of
    /// [`max_connections`](Self::max_connections).
    pub fn max_connections_per_peer(mut self, connections: usize) -> Self {
        self.max_connections_per_peer = Some(connections);
        self
    }

    /// Sets how long a peer may take to read some of what was written to it. Then its connection is closed. Default: 30 s.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets the timeout for the head of a request, which is also the idle timeout of a connection. Default: 30 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Sets the longest time that a long poll (`Prefer: wait`) waits for a change, rounded down to whole seconds. Default: 60 s.
    pub fn max_long_poll(mut self, wait: Duration) -> Self {
        self.max_long_poll = wait;
        self
    }
}

/// Jobs.
impl Builder {
    /// Sets the backend that runs the jobs. Default: [`Echo`](super::Echo). A daemon that shares its queue (`Builder::postgres`) has no
    /// default, since an echo ends the jobs of every model, also those for other daemons.
    pub fn backend(mut self, backend: impl Into<Backend>) -> Self {
        self.backends = Some(vec![backend.into()]);
        self
    }

    /// Sets several backends, each with a [name](Backend::name) and, if it differs, its [number of workers](Backend::workers). A
    /// job goes to a backend that lists its model; see [several backends](crate#several-backends).
    pub fn backends(mut self, backends: impl IntoIterator<Item = Backend>) -> Self {
        self.backends = Some(backends.into_iter().collect());
        self
    }

    /// Sets whether a daemon with several backends, or with a queue that other daemons share, accepts jobs whose model none lists. Such a
    /// job waits until one does. Otherwise its submission gets a 422. Default: false.
    pub fn accept_unlisted_models(mut self, accept: bool) -> Self {
        self.accept_unlisted_models = accept;
        self
    }

    /// Sets how long an idle backend leaves a job to another one, also of another daemon with the queue, that has its model loaded. Then it
    /// loads the model itself. With zero, it leaves no jobs to others. Default: 5 s; loading a model usually takes longer.
    pub fn loaded_wait(mut self, wait: Duration) -> Self {
        self.loaded_wait = wait;
        self
    }

    /// Sets the pause between two requests for the models of a backend, and for those that it has loaded. An outage is found by it while no
    /// job runs. With several backends, a submission whose model none of them lists makes the daemon ask at once, once a second at most.
    /// Default: 60 s.
    pub fn model_refresh(mut self, pause: Duration) -> Self {
        self.model_refresh = pause;
        self
    }

    /// Sets the number of workers of each backend, which is the number of jobs that it runs concurrently. Default: 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the number of requests for embeddings that run concurrently. They run beside the jobs. 16 more wait; any other gets a 429
    /// with `Retry-After`. Default: 1.
    pub fn embeds_at_once(mut self, requests: usize) -> Self {
        self.embeds_at_once = requests;
        self
    }

    /// Sets the largest number of queued jobs. Submissions to a full queue get a 429. Default: 10,000.
    pub fn max_queue(mut self, jobs: usize) -> Self {
        self.max_queue = jobs;
        self
    }

    /// Sets the largest number of queued jobs of one token. Submissions beyond that get a 429. Default: three quarters of
    /// [`max_queue`](Self::max_queue) if there are several tokens, so that one of them does not fill the queue for all.
    pub fn max_queue_per_token(mut self, jobs: usize) -> Self {
        self.max_queue_per_token = Some(jobs);
        self
    }

    /// Sets the largest number of jobs of one token that run concurrently. Its other jobs stay queued, and those of other tokens run
    /// before them. Default: as many as there are [workers](Self::workers).
    pub fn max_running_per_token(mut self, jobs: usize) -> Self {
        self.max_running_per_token = Some(jobs);
        self
    }

    /// Sets how many submissions one token may send in a second, all of which may come at once. Any other gets a 429 with
    /// `Retry-After`. Submissions that are rejected or repeat an earlier one count. Default: no limit.
    pub fn max_submissions_per_token(mut self, per_second: u32) -> Self {
        self.max_submissions_per_token = Some(per_second);
        self
    }

    /// Sets how many bytes the jobs of a daemon without a [file](Self::store) have together: the submissions of queued and running ones,
    /// the results and artifacts of ended ones, and 1 KiB for each. Submissions beyond that get a 429 until jobs
    /// [are deleted](Self::keep). The results of jobs that were accepted before are stored all the same. Default: 1 GiB.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Sets the number of queued jobs of one model that run in a row while jobs of other models, or of other tokens, wait. Batches
    /// keep a machine with one GPU from loading its models in turn; see [the order of jobs](crate#the-order-of-jobs). With 1, the
    /// jobs of one token run first in, first out. Default: 8.
    pub fn model_batch(mut self, jobs: usize) -> Self {
        self.model_batch = jobs;
        self
    }

    /// Sets the largest number of attempts at a job. A job is run again after a [transient failure](crate::Transient), and after
    /// a crash of a daemon with a [file](Self::store). After the last attempt it has failed. Default: 3.
    pub fn attempts(mut self, attempts: u64) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the pause before the second attempt. Each further pause is twice as long, up to a minute. The worker takes no other
    /// job meanwhile. Default: 1 s.
    pub fn attempt_pause(mut self, pause: Duration) -> Self {
        self.attempt_pause = pause;
        self
    }

    /// Stores jobs in a SQLite file. It is created if it does not exist, readable by its owner only, and must be on a local disk.
    /// SQLite's own files and a lock file are next to it: `PATH-wal`, `PATH-shm`, `PATH.lock`. Default: jobs are in memory.
    #[cfg(feature = "sqlite")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// Sets how long a job is stored after its end, with its idempotency key and its undelivered events. A submission that is
    /// repeated later runs again, and events that were not delivered by then are given up. Default: 24 h.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Sets the drain timeout: how long [`Daemon::shutdown`](super::Daemon::shutdown) waits for running jobs. Default: 5 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }
}

/// Fault injection.
#[cfg(feature = "faults")]
#[cfg_attr(docsrs, doc(cfg(feature = "faults")))]
impl Builder {
    /// Injects the faults that this handle sets; see [`faults`](crate::faults). A webhook that a fault holds back is in flight, so that
    /// [`webhooks_per_host`](Self::webhooks_per_host) has no effect. Default: none.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listen", &self.listen)
            .field("tokens", &self.tokens.len())
            .field("webhook_secret", &self.webhook_secret.as_ref().map(|_| ".."))
            .field("workers", &self.workers)
            .field("max_queue", &self.max_queue)
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}
