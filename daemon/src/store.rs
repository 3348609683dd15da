//! What the daemon knows: jobs, their queue, the keys they were submitted with, and the events that are to be told.
//!
//! Each method of [`Store`] is one transaction: what it changes, it changes together, and what it answers is kept. It knows
//! nothing of tasks, sockets or backends, so that another place to keep jobs needs these methods and no more.

mod error;
mod fenwick_tree;
mod fresh_id;
mod job;
mod memory;
mod outbox;
mod queue;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use self::error::StoreError;
pub(crate) use self::job::{
    Cancelled, IdempotencyKey, JobProgress, NewJob, NextJob, Outcome, Output, Page, Query, SubmitError, Submitted,
    Taken,
};
pub(crate) use self::memory::Memory;
pub(crate) use self::outbox::{Address, Claim, Delivery, Verdict};
#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::{OpenError, Sqlite};
use super::owner::Owner;
use crate::{JobId, JobStatus};

/// A transaction on its way. Dropping it takes nothing back: what was asked for happens all the same.
pub(crate) type Transaction<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where jobs are kept. Who asks for its own jobs says who it is, and another's job is unknown to it; who runs them asks
/// without.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Takes a job into the queue, with its key and its first event; or finds the one that its owner used the key for.
    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>>;

    /// Gives the next job to a worker: queued → running. One that is damaged fails instead: queued → failed.
    fn take(&self) -> Transaction<'_, Option<NextJob>>;

    /// Begins a run anew after an attempt that failed: running → running, one attempt on. `None` if the job has ended.
    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64) -> Transaction<'a, Option<Taken>>;

    /// Ends that run of a job: running → done or failed. Does nothing, and says so, if the job has ended otherwise.
    fn finish<'a>(&'a self, job_id: &'a JobId, attempt: u64, outcome: Outcome) -> Transaction<'a, bool>;

    /// Ends a job that waits or runs: queued or running → failed, error `cancelled`.
    fn cancel<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Cancelled>;

    /// How many jobs wait for a worker, at once.
    fn queued(&self) -> usize;

    fn status<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Option<Arc<JobStatus>>>;

    /// How far a job is, whoever's it is.
    fn progress<'a>(&'a self, job_id: &'a JobId) -> Transaction<'a, Option<JobProgress>>;

    /// Newest first.
    fn list(&self, query: Query) -> Transaction<'_, Page>;

    /// Takes an event that is due.
    fn claim(&self) -> Transaction<'_, Claim>;

    /// Says what came of an event that was claimed.
    fn settle<'a>(&'a self, job_id: &'a JobId, verdict: Verdict) -> Transaction<'a, ()>;
}
