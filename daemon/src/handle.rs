use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::api::{self, App, Tokens};
use super::attempts::Attempts;
use super::backend::Backend;
use super::delivery::{self, Policy, Schedule, Sender};
use super::faults::Faults;
use super::jobs::Jobs;
use super::server::{self, Limits};
use super::stats::Stats;
use super::store::Store;
use super::{Builder, worker};
use crate::{Error, JobId};
use foreman_protocol::webhook::Secret;

/// How long answers and webhooks may take that are under way when the last job has ended.
const GRACE: Duration = Duration::from_secs(1);

/// A daemon that runs in this process. Dropping it stops everything at once, without blocking; its port is free again a
/// moment later. [`shutdown`](Daemon::shutdown) is the gentle way.
pub struct Daemon {
    jobs: Arc<Jobs>,
    address: SocketAddr,
    drain: Duration,
    /// Nothing new.
    closing: CancellationToken,
    /// No job will change any more.
    ended: CancellationToken,
    // Dropping a set ends its tasks.
    workers: JoinSet<()>,
    /// The server and the delivery.
    others: JoinSet<()>,
}

/// What the builder found right.
pub(super) struct Plan {
    pub(super) tokens: Tokens,
    pub(super) secret: Option<Secret>,
    pub(super) schedule: Schedule,
    pub(super) policy: Policy,
    #[cfg(feature = "tls")]
    pub(super) roots: delivery::Roots,
    pub(super) webhooks_at_once: NonZeroUsize,
    pub(super) workers: NonZeroUsize,
    pub(super) attempts: Attempts,
    pub(super) max_hold: Duration,
    pub(super) body_limit: usize,
    pub(super) limits: Limits,
    pub(super) drain: Duration,
    pub(super) backend: Backend,
    pub(super) faults: Option<Faults>,
}

impl Daemon {
    /// A daemon to be described.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A daemon with all defaults: at 127.0.0.1 and a port of the system's choice, echoing.
    ///
    /// # Errors
    ///
    /// [`Error::is_listen`] if there is no port to listen at.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves nothing behind.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    pub(super) fn run(listener: TcpListener, address: SocketAddr, store: Box<dyn Store>, plan: Plan) -> Self {
        let jobs = Arc::new(Jobs::new(store));
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());

        let mut workers = JoinSet::new();
        for _ in 0..plan.workers.get() {
            workers.spawn(worker::work(
                Arc::clone(&jobs),
                plan.backend.clone(),
                plan.attempts,
                plan.faults.clone(),
                closing.clone(),
            ));
        }

        let mut others = JoinSet::new();
        let app = App {
            jobs: Arc::clone(&jobs),
            backend: plan.backend,
            tokens: plan.tokens,
            policy: plan.policy.clone(),
            body_limit: plan.body_limit,
            max_hold: plan.max_hold,
            closing: closing.clone(),
            ended: ended.clone(),
            faults: plan.faults.clone(),
        };
        others.spawn(server::serve(listener, api::router(Arc::new(app)), plan.limits, closing.clone()));
        let sender = Sender::new(plan.secret, plan.policy, plan.faults);
        #[cfg(feature = "tls")]
        let sender = sender.with_roots(plan.roots);
        others.spawn(delivery::deliver(
            Arc::clone(&jobs),
            Arc::new(sender),
            Arc::new(plan.schedule),
            plan.webhooks_at_once,
            ended.clone(),
        ));

        Self { jobs, address, drain: plan.drain, closing, ended, workers, others }
    }

    /// Where it is: `http://127.0.0.1:PORT`. One that listens on all interfaces says loopback.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The address that it listens at.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.jobs.counters.snapshot()
    }

    /// How often a job was given to the backend, whichever token it was submitted with; 0 for one that it does not know.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn executions(&self, job_id: &JobId) -> u64 {
        self.jobs.progress(job_id).await.ok().flatten().map_or(0, |job| job.attempt)
    }

    /// Stops in order, and returns when nothing of it runs any more.
    ///
    /// No connections are accepted and no jobs are begun from now on, and submissions on open connections are answered with
    /// 503. Running jobs go on up to the [drain time-out](Builder::drain), polls of them are held on; then polls are answered
    /// and the webhooks that are due are sent, for at most one second. What is not done by then is aborted. Jobs that were
    /// queued or running are lost, unless they are [kept in a file](Builder::store), which is free again then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops everything at once, as dropping the daemon does.
    pub async fn shutdown(mut self) {
        self.closing.cancel();
        _ = timeout(self.drain, all(&mut self.workers)).await;
        // Jobs that did not end in time: they must not change after the last webhook.
        self.workers.shutdown().await;
        self.ended.cancel();
        _ = timeout(GRACE, all(&mut self.others)).await;
        self.others.shutdown().await;
        self.jobs.changes.close();
        self.jobs.changes.wait().await;
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("address", &self.address).field("stats", &self.stats()).finish_non_exhaustive()
    }
}
