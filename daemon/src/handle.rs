use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Builder;
use super::failure::failure;
use super::jobs::Jobs;
use super::stats::Stats;
use super::vital::Vital;
use crate::{Error, JobId};

/// The time for responses and webhooks that are in flight when the last job has ended.
const GRACE: Duration = Duration::from_secs(1);

/// A daemon that runs in this process.
///
/// [`shutdown`](Daemon::shutdown) stops it gracefully. Dropping it aborts everything at once, without blocking; its port is free
/// again shortly after.
pub struct Daemon {
    pub(super) jobs: Arc<Jobs>,
    pub(super) address: SocketAddr,
    pub(super) drain: Duration,
    pub(super) vital: Vital,
    /// No new jobs once it is cancelled.
    pub(super) closing: CancellationToken,
    /// No job changes once it is cancelled.
    pub(super) ended: CancellationToken,
    // Dropping a set aborts its tasks.
    pub(super) workers: JoinSet<()>,
    /// The server and the delivery.
    pub(super) io: JoinSet<()>,
}

impl Daemon {
    /// Creates a builder with all defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a daemon with all defaults: on 127.0.0.1, with a port that the operating system chooses, jobs in memory and a
    /// backend that echoes.
    ///
    /// # Errors
    ///
    /// [`Error::is_listen`] if no port is free.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it is ready leaves nothing.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// The base URL of the daemon, such as `http://127.0.0.1:8080`. It has a loopback address if the daemon listens on all
    /// interfaces.
    #[must_use]
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// The address that the daemon listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The daemon's counters since its start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.jobs.stats()
    }

    /// The number of attempts at a job so far, whichever token it was submitted with; 0 for an unknown job.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn executions(&self, job_id: &JobId) -> u64 {
        self.jobs.progress(job_id).await.ok().flatten().map_or(0, |job| job.attempt)
    }

    /// Completes when the daemon cannot continue: its store file is damaged, or one of its parts has panicked. Until it is shut down,
    /// it responds with 503 to what it cannot do. The program should report the error, call [`shutdown`](Self::shutdown) and end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only waits.
    pub async fn failed(&self) -> Error {
        Error::failed(&self.vital.failed().await)
    }

    /// Shuts down gracefully, and returns when no task of the daemon runs any more.
    ///
    /// 1. The daemon accepts no connections and starts no jobs. Submissions on open connections get a 503.
    /// 2. Running jobs have the [drain timeout](Builder::drain) to end, and long polls of them stay open. Jobs that run longer
    ///    are aborted.
    /// 3. Long polls get their responses, event streams end, and the webhooks that are due are sent, for at most one second. The
    ///    rest is aborted.
    ///
    /// Jobs that are queued or running are lost, unless the daemon has a [file](Builder::store). There they are queued again, and the
    /// attempts that were aborted do not count. The file can be opened again once this returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts everything at once, as dropping the daemon does.
    pub async fn shutdown(mut self) {
        self.closing.cancel();
        _ = timeout(self.drain, all(&mut self.workers)).await;
        // Jobs that did not end in time must not change after the last webhook.
        self.workers.shutdown().await;
        if let Err(error) = self.jobs.interrupt().await {
            tracing::error!(error = %failure(&error), "cannot queue all interrupted jobs: they run again later, and the attempts count");
        }
        self.ended.cancel();
        _ = timeout(GRACE, all(&mut self.io)).await;
        self.io.shutdown().await;
        if let Err(error) = self.jobs.close().await {
            tracing::error!(error = %failure(&error), "cannot release the lease; it ends by itself");
        }
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
