//! The store: jobs, their queue, their idempotency keys, and the outbox of events.
//!
//! Each method of [`Store`] is one transaction. When it returns, its changes are durable, as far as the store is. A store does
//! not depend on tasks, sockets or backends, so that another store implements these methods and nothing else.

mod batches;
mod breaker;
mod destination;
mod destinations;
mod due_events;
mod error;
mod fenwick_tree;
mod fleet;
mod fresh_id;
mod job;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod key_column;
mod memory;
mod options;
mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
#[cfg(feature = "sqlite")]
mod sqlite;
mod wanted;

use std::fmt;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

pub(crate) use self::destination::Destination;
pub(crate) use self::destinations::{BreakerChange, Destinations};
pub(crate) use self::error::StoreError;
pub(crate) use self::fleet::{BoxState, Fleet, ListedBackend};
#[cfg(feature = "postgres")]
pub(crate) use self::job::PageBuilder;
pub(crate) use self::job::{
    Cancelled, Cost, DEADLINE, IdempotencyKey, JobProgress, NewJob, NextJob, OVERDUE_LIMIT, Outcome, Output, Overdue,
    Page, Query, SubmitError, Submitted, Taken,
};
pub(crate) use self::memory::Memory;
pub(crate) use self::options::StoreOptions;
pub(crate) use self::outbox::{Address, Claim, Delivery, Verdict};
#[cfg(feature = "postgres")]
pub(crate) use self::postgres::{DatabaseUrl, Membership, Postgres, PostgresOpenError, SharedOptions};
pub(crate) use self::queue::QueueLimits;
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::{OpenError, Sqlite};
pub(crate) use self::wanted::{ModelNames, Wanted};
use super::owner::Owner;
use crate::{JobId, JobStatus};

/// A transaction in progress. Dropping the future does not roll it back: the transaction completes.
pub(crate) type Transaction<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Completes when a lease is lost.
pub(crate) type LeaseLost = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Stores jobs. Methods with an owner find that owner's jobs only. Workers and the dispatcher use the methods without one.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Identifies the queue: stored with the jobs, and the same for all daemons that share them.
    fn queue_id(&self) -> Uuid;

    /// Adds a job to the queue, with its key and its first event. If its owner has used the key before, returns that job.
    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>>;

    /// Takes the next job that a worker wants: queued → running. A damaged job fails instead: queued → failed.
    fn take(&self, wanted: Wanted) -> Transaction<'_, Option<NextJob>>;

    /// Starts the next attempt after `attempt` failed with this error: running → running. `None` if `attempt` is not the current one,
    /// or the job has ended.
    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64, error: &'a str) -> Transaction<'a, Option<Taken>>;

    /// Queues a job again after `attempt` failed with this error, after those of its owner's other models: running → queued. Does
    /// nothing if `attempt` is not the current one, or the job has ended.
    fn requeue<'a>(&'a self, job_id: &'a JobId, attempt: u64, cost: Cost, error: &'a str) -> Transaction<'a, ()>;

    /// Fails the queued jobs that have never been started and whose time has passed: queued → failed, with the error `deadline`.
    fn fail_overdue(&self) -> Transaction<'_, Overdue>;

    /// The daemon stops, and no worker runs any more: running → queued. The attempts that it has interrupted do not count. Does
    /// nothing if the jobs end with the daemon.
    fn interrupt(&self) -> Transaction<'_, ()>;

    /// Completes when this daemon may no longer run a job that it has taken, because other daemons may run it. Never completes if no other
    /// daemon can.
    fn lease_lost(&self, job_id: &JobId) -> LeaseLost {
        let _ = job_id;
        Box::pin(pending())
    }

    /// How long the lease of this daemon lasts unless it is renewed. Zero if it is lost, `None` without leases.
    fn lease_left(&self) -> Option<Duration> {
        None
    }

    /// Whether this daemon takes no jobs, as far as it has heard.
    fn is_draining(&self) -> bool {
        false
    }

    /// The daemons that share the store, as they were last read. Does not wait. `None` if no other daemon can.
    fn fleet(&self) -> Option<Arc<Fleet>> {
        None
    }

    /// The same, read now.
    fn read_fleet(&self) -> Transaction<'_, Option<Arc<Fleet>>> {
        Box::pin(ready(Ok(None)))
    }

    /// Sets whether a daemon takes no jobs. Returns `false` if there is no such daemon.
    fn set_draining(&self, id: Uuid, draining: bool) -> Transaction<'_, bool> {
        let _ = (id, draining);
        Box::pin(ready(Ok(false)))
    }

    /// The daemon ends, and makes no further calls: what it holds is free for others.
    fn close(&self) -> Transaction<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Ends a job with the outcome of `attempt`: running → done or failed. Returns `false` and changes nothing if `attempt` is
    /// not the current one, or the job has ended.
    fn finish<'a>(&'a self, job_id: &'a JobId, attempt: u64, outcome: Outcome) -> Transaction<'a, bool>;

    /// Cancels a job: queued or running → failed, with the error `cancelled`.
    fn cancel<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Cancelled>;

    /// Whether it can store something now: a transaction that changes nothing.
    fn check(&self) -> Transaction<'_, ()>;

    /// How many jobs are queued. Does not wait.
    fn queued(&self) -> usize;

    /// The status of one job.
    fn status<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Option<Arc<JobStatus>>>;

    /// The state and the attempt of one job of any owner.
    fn progress<'a>(&'a self, job_id: &'a JobId) -> Transaction<'a, Option<JobProgress>>;

    /// A page of jobs, newest first.
    fn list(&self, query: Query) -> Transaction<'_, Page>;

    /// Claims an event that is due, and whose destination [has room](Destinations). It stays claimed until it is settled.
    fn claim(&self) -> Transaction<'_, Claim>;

    /// Records the verdict on a claimed event.
    fn settle<'a>(&'a self, job_id: &'a JobId, verdict: Verdict) -> Transaction<'a, ()>;
}
