mod start;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::time::Duration;

use super::backend::{Backend, Echo};
use super::delivery::WebhookHosts;
use super::faults::Faults;

/// The longest time that makes a difference. What is longer is taken for it: hyper adds times without asking whether it can.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Says how a [`Daemon`](super::Daemon) is to be; [`start`](Builder::start) checks it.
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    listen: SocketAddr,
    tokens: Vec<String>,
    webhook_secret: Option<String>,
    webhook_retries: Option<Vec<Duration>>,
    webhooks_at_once: usize,
    webhook_hosts: Option<WebhookHosts>,
    private_webhooks: bool,
    #[cfg(feature = "tls")]
    webhook_roots: Option<Vec<u8>>,
    workers: usize,
    max_queue: usize,
    model_batch: usize,
    max_hold: Duration,
    body_limit: usize,
    max_connections: usize,
    header_timeout: Duration,
    drain: Duration,
    backend: Backend,
    #[cfg(feature = "sqlite")]
    store: Option<PathBuf>,
    keep: Duration,
    attempts: u64,
    attempt_pause: Duration,
    faults: Option<Faults>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tokens: Vec::new(),
            webhook_secret: None,
            webhook_retries: None,
            webhooks_at_once: 16,
            webhook_hosts: None,
            private_webhooks: true,
            #[cfg(feature = "tls")]
            webhook_roots: None,
            workers: 1,
            max_queue: 10_000,
            model_batch: 8,
            max_hold: Duration::from_secs(60),
            body_limit: 16 * 1024 * 1024,
            max_connections: 1024,
            header_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            backend: Echo::new().into(),
            #[cfg(feature = "sqlite")]
            store: None,
            keep: Duration::from_secs(24 * 60 * 60),
            attempts: 3,
            attempt_pause: Duration::from_secs(1),
            faults: None,
        }
    }
}

/// Who may ask, and where.
impl Builder {
    /// Where to listen. Default: 127.0.0.1, a port of the system's choice.
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listen = address.into();
        self
    }

    /// A bearer token, of which every request must show one; said again, one more. Each token [sees its own jobs
    /// only](crate#tokens). Default: none is needed.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens.push(token.into());
        self
    }

    /// Further bearer tokens, as if each was said to be a [`token`](Self::token). No tokens leave things as they are: a daemon
    /// that was told none needs none.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tokens.extend(tokens.into_iter().map(Into::into));
        self
    }

    /// The largest body of a request, in bytes. Default: 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How many connections are open at once, those of held polls included; more wait in the system's backlog. Default: 1,024.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long the head of a request may take, and how long a connection may be idle. Default: 30 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// The longest time that `Prefer: wait` holds a poll; taken down to whole seconds. Default: 60 s.
    pub fn max_hold(mut self, hold: Duration) -> Self {
        self.max_hold = hold;
        self
    }
}

/// What is done with jobs.
impl Builder {
    /// What runs them. Default: [`Echo`].
    pub fn backend(mut self, backend: impl Into<Backend>) -> Self {
        self.backend = backend.into();
        self
    }

    /// How many run at once. Default: 1.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many may be queued; a submission beyond is answered with 429. Default: 10,000.
    pub fn max_queue(mut self, jobs: usize) -> Self {
        self.max_queue = jobs;
        self
    }

    /// How many queued jobs of one model are taken in a row while others wait, so that a box with one GPU does not load its
    /// models in turn: see [the order of jobs](crate#the-order-of-jobs). A job is overtaken by one less than that of
    /// each other model. 1: first in, first out. Default: 8.
    pub fn model_batch(mut self, jobs: usize) -> Self {
        self.model_batch = jobs;
        self
    }

    /// How often a job is run at most: again after an attempt that failed by what [may go away](crate::Transient), and
    /// after a crash of a daemon that [keeps its jobs](Self::store). After the last one it has failed. Default: 3.
    pub fn attempts(mut self, attempts: u64) -> Self {
        self.attempts = attempts;
        self
    }

    /// The pause before a second attempt, in which the worker takes no other job; each further one is twice as long as the
    /// one before, up to a minute. Default: 1 s.
    pub fn attempt_pause(mut self, pause: Duration) -> Self {
        self.attempt_pause = pause;
        self
    }

    /// Keeps jobs in this file of SQLite, which is made if it is not there, readable by its owner only. Files of SQLite's own and
    /// a lock are beside it: `PATH-wal`, `PATH-shm`, `PATH.lock`. It must be on a local disk. Default: jobs are in memory.
    #[cfg(feature = "sqlite")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
    pub fn store(mut self, path: impl Into<PathBuf>) -> Self {
        self.store = Some(path.into());
        self
    }

    /// How long a job that ended is kept, and with it the idempotency key it was submitted with. A client that repeats a
    /// submission later than that has its job run again, and events that were not delivered by then are given up. Default: 24 h.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// How long [`Daemon::shutdown`](super::Daemon::shutdown) lets running jobs go on. Default: 5 s.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }
}

/// Webhooks.
impl Builder {
    /// The secret that they are signed with, in foreman's way and in that of Standard Webhooks. Default: they are not signed.
    pub fn webhook_secret(mut self, secret: impl Into<String>) -> Self {
        self.webhook_secret = Some(secret.into());
        self
    }

    /// The pauses before the second attempt, the third and so on; after the last one an event is given up. Each is spread by
    /// a fifth to either side. Default: 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, then hourly for a day.
    pub fn webhook_retries(mut self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.webhook_retries = Some(pauses.into_iter().map(|pause| pause.min(LONGEST)).collect());
        self
    }

    /// How many are sent at once, each of another job. Default: 16.
    pub fn webhooks_at_once(mut self, webhooks: usize) -> Self {
        self.webhooks_at_once = webhooks;
        self
    }

    /// The only hosts that webhooks are sent to. A submission whose callback URL names an address or a host that can never be
    /// among them is answered with 422; where its name resolves to another one, what is for it is given up and its job goes
    /// on. Default: all hosts.
    pub fn allow_webhook_hosts(mut self, hosts: WebhookHosts) -> Self {
        self.webhook_hosts = Some(hosts);
        self
    }

    /// Whether webhooks are sent to loopback and private networks (RFC 1918, 100.64.0.0/10, `fc00::/7`), where the callers of
    /// most daemons live. Without them, a submission whose callback URL has such an address is answered with 422, and what a
    /// name resolves to decides when a webhook is sent, listed or not. Default: true.
    pub fn private_webhooks(mut self, private: bool) -> Self {
        self.private_webhooks = private;
        self
    }

    /// Certificates of authorities, as PEM, that receivers at `https` are trusted by beside those of the operating system: of a
    /// company's own authority, for instance. A receiver whose certificate is trusted by neither, or is of another name, is
    /// sent nothing; its events are repeated as if it were not there. Default: none beside the system's.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn webhook_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.webhook_roots = Some(pem.into());
        self
    }
}

/// For tests of its callers.
#[cfg(feature = "faults")]
#[cfg_attr(docsrs, doc(cfg(feature = "faults")))]
impl Builder {
    /// Lets these go wrong; see [`faults`](crate::faults). Default: nothing does.
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
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
