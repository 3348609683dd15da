use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Database, execute};
use super::open::Membership;
use super::shared_options::SharedOptions;
use crate::JobId;
use crate::lists::Lists;
use crate::store::StoreError;

/// The lease of this daemon, under which it runs all of its jobs and sends all of its events.
///
/// The daemon counts its time from before a renewal was sent, so that it gives the lease up before the database does.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    name: Box<str>,
    options: Arc<SharedOptions>,
    /// What the daemon publishes with its lease.
    lists: Lists,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// The id of the daemon. It has another one after it has lost its lease.
    id: Uuid,
    until: Instant,
    /// Since when it has been renewed without a gap.
    since: Instant,
    /// Cancelled when the lease is lost.
    lost: CancellationToken,
    /// The jobs that workers have, and the tokens of their leases.
    held: HashMap<JobId, CancellationToken>,
    /// The lists that the database has.
    published: Option<Arc<str>>,
    /// Whether the daemon takes no jobs.
    draining: bool,
}

/// The result of a renewal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Renewed,
    /// Another daemon has ended the lease.
    Lost,
}

impl Lease {
    pub(super) fn new(membership: Membership, lists: Lists) -> Self {
        let now = Instant::now();
        let current = Current {
            id: Uuid::new_v4(),
            until: now,
            since: now,
            lost: CancellationToken::new(),
            held: HashMap::new(),
            published: None,
            draining: false,
        };
        let Membership { lease: length, name, options } = membership;
        Self { length, name: name.into(), options: Arc::new(options), lists, current: Mutex::new(current) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Those that this daemon publishes.
    pub(super) fn options(&self) -> &Arc<SharedOptions> {
        &self.options
    }

    pub(super) fn id(&self) -> Uuid {
        self.current().id
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// How often it is renewed.
    pub(super) fn pace(&self) -> Duration {
        self.length / 3
    }

    /// Whether this daemon has had a lease for so long that another one, which had as much time to renew its own, is gone. After an
    /// outage of the database all daemons are late.
    pub(super) fn is_steady(&self) -> bool {
        let current = self.current();
        !current.lost.is_cancelled() && current.since.elapsed() >= self.length
    }

    /// As if it had been held for long.
    #[cfg(test)]
    pub(super) fn make_steady(&self) {
        let mut current = self.current();
        current.since = current.since.checked_sub(self.length).unwrap_or(current.since);
    }

    /// [`is_steady`](Self::is_steady) counts from now on.
    pub(super) fn begin_steadiness(&self) {
        self.current().since = Instant::now();
    }

    /// The token of the present lease, cancelled when it is lost.
    pub(super) fn token(&self) -> CancellationToken {
        self.current().lost.clone()
    }

    /// A worker has a job that it took under the lease of this token.
    pub(super) fn hold(&self, job_id: JobId, lease: CancellationToken) {
        self.current().held.insert(job_id, lease);
    }

    pub(super) fn release(&self, job_id: &JobId) {
        self.current().held.remove(job_id);
    }

    /// The token of the lease of a job.
    pub(super) fn of(&self, job_id: &JobId) -> CancellationToken {
        let current = self.current();
        current.held.get(job_id).unwrap_or(&current.lost).clone()
    }

    /// Forgets the jobs that are not among those that the database has as running here. Returns those of them that no worker has.
    pub(super) fn reconcile(&self, running: &[JobId]) -> Vec<JobId> {
        let mut current = self.current();
        current.held.retain(|job_id, _| running.contains(job_id));
        running.iter().filter(|job_id| !current.held.contains_key(*job_id)).cloned().collect()
    }

    /// Whether the daemon takes no jobs.
    pub(super) fn is_draining(&self) -> bool {
        self.current().draining
    }

    /// Returns whether it was draining.
    pub(super) fn set_draining(&self, draining: bool) -> bool {
        std::mem::replace(&mut self.current().draining, draining)
    }

    /// Registers the daemon with a lease. One that has lost its lease while it was draining goes on with that.
    pub(super) async fn register(&self, database: &Database) -> Result<(), StoreError> {
        let (sent, id, name, length) = (Instant::now(), self.id(), self.name.to_string(), self.length.as_secs_f64());
        let (lists, draining) = (self.lists.json(), self.is_draining());
        let options = serde_json::to_string(&*self.options).map_err(|error| StoreError::damaged_row(error.into()))?;
        let values = (lists.clone(), draining);
        database
            .run_for_lease(move |client| {
                Box::pin(async move {
                    let sql = "INSERT INTO boxes (id, name, leased_until, backends, draining, options)
                        VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), $4, $5, $6)
                        ON CONFLICT (id) DO UPDATE SET leased_until = excluded.leased_until, backends = excluded.backends";
                    execute(client, sql, &[&id, &name, &length, &values.0.as_deref(), &values.1, &options]).await
                })
            })
            .await?;
        self.renewed(sent, lists);
        Ok(())
    }

    /// Renews the lease, and publishes the lists if the database has others.
    pub(super) async fn renew(&self, database: &Database) -> Result<Renewal, StoreError> {
        let (sent, id, length) = (Instant::now(), self.id(), self.length.as_secs_f64());
        let lists = self.lists.json();
        let changed = lists.clone().filter(|_| self.is_unpublished());
        let renewed = database
            .run_for_lease(move |client| {
                Box::pin(async move {
                    let sql = "UPDATE boxes SET leased_until = clock_timestamp() + make_interval(secs => $2),
                        backends = coalesce($3, backends) WHERE id = $1";
                    execute(client, sql, &[&id, &length, &changed.as_deref()]).await
                })
            })
            .await?;
        if renewed == 0 {
            return Ok(Renewal::Lost);
        }
        self.renewed(sent, lists);
        Ok(Renewal::Renewed)
    }

    /// Completes when there are other lists to publish.
    pub(super) fn lists_changed(&self) -> Notified<'_> {
        self.lists.changed()
    }

    /// Whether the database has other lists, as far as is known.
    pub(super) fn is_unpublished(&self) -> bool {
        self.lists.json() != self.current().published
    }

    fn renewed(&self, sent: Instant, lists: Option<Arc<str>>) {
        let mut current = self.current();
        current.published = lists;
        if current.lost.is_cancelled() {
            (current.lost, current.since) = (CancellationToken::new(), sent);
        }
        current.until = sent + self.length;
    }

    /// The lease has ended: the runs under it stop.
    pub(super) fn lose(&self, reason: &str) {
        let current = self.current();
        if !current.lost.is_cancelled() {
            tracing::error!(
                runs = current.held.len(),
                reason,
                "lease lost: attempts in progress stop, and their jobs run again; a result that is not stored yet counts unless \
                 another daemon runs the job"
            );
            current.lost.cancel();
        }
    }

    /// Begins anew with another id, so that nothing that the old one has left belongs to it.
    pub(super) fn rename(&self) {
        let mut current = self.current();
        current.id = Uuid::new_v4();
        current.held.clear();
    }

    /// How long it lasts unless it is renewed; zero if it is lost.
    pub(super) fn left(&self) -> Duration {
        let current = self.current();
        if current.lost.is_cancelled() {
            return Duration::ZERO;
        }
        current.until.saturating_duration_since(Instant::now())
    }

    pub(super) fn until(&self) -> Instant {
        self.current().until
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
