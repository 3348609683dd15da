use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Client;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, Notify, RwLock, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::boxes;
use super::cancels::Cancels;
use super::clock::DatabaseClock;
use super::connection::{Database, execute, query, query_opt};
use super::events::{self, Sent};
use super::lease::Lease;
use super::lock_wait::LockWait;
use super::row::{STATUS, STATUS_WITHOUT_OUTPUT, count, job_ids, shared, status};
use super::submit::Pending;
use super::taking::{self, Turn};
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::{
    Cancelled, Claim, Cost, Fleet, JobProgress, LeaseLost, NewJob, NextJob, OVERDUE_LIMIT, Outcome, Overdue, Page,
    PageBuilder, Query, Store, StoreError, StoreOptions, SubmitError, Submitted, Taken, Transaction, Verdict, Wanted,
};
use crate::{JobId, JobState, JobStatus};

const REQUEUE: &str =
    "UPDATE jobs SET state = 'queued', place = nextval('places'), spent = greatest(spent - $3, 0), box = NULL,
        error = $4, started_at = CASE WHEN spent > $3 THEN started_at END,
        priority = least(priority, (SELECT min(priority) FROM jobs AS queued
            WHERE queued.owner = locked.owner AND queued.state = 'queued'))
    FROM (SELECT owner FROM owners WHERE owner = (SELECT owner FROM jobs WHERE id = $1) FOR UPDATE) AS locked
    WHERE id = $1 AND jobs.owner = locked.owner AND state = 'running' AND attempt = $2";

const FINISH: &str =
    "UPDATE jobs SET state = $3, result = $4, error = $5, artifacts = $6, completed_at = clock_timestamp(),
        body = NULL, box = NULL
    WHERE id = $1 AND state = 'running' AND attempt = $2";

/// In how many microseconds the next queued job fails.
const NEXT_DEADLINE: &str = "SELECT (extract(epoch FROM start_by - clock_timestamp()) * 1000000)::bigint FROM jobs
    WHERE state = 'queued' AND spent = 0 AND start_by IS NOT NULL ORDER BY start_by LIMIT 1";

/// The pause before overdue jobs are failed that could not be, since their tokens were locked.
const LOCKED_PAUSE: SignedDuration = SignedDuration::from_secs(1);

const INTERRUPT: &str = "SELECT requeue_running($1, 1, $2, 'daemon stopped', $3)";

/// Releases the events that the daemon sends, and ends its lease.
const CLOSE: &str = "WITH released AS (UPDATE outbox SET box = NULL WHERE box = $1) DELETE FROM boxes WHERE id = $1";

/// Fails on a server that only reads.
const CHECK: &str = "SELECT 1 / (CASE WHEN current_setting('transaction_read_only')::bool THEN 0 ELSE 1 END)";

/// Stores jobs in a PostgreSQL database.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(super) shared: Shared,
    pub(super) submissions: mpsc::UnboundedSender<Pending>,
    /// The feed, the lease, the maintenance and the submissions. Dropping the set ends them.
    pub(super) _tasks: JoinSet<()>,
}

pub(super) type Shared = Arc<State>;

/// What the calls and the tasks of a store share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queue_id: Uuid,
    pub(super) database: Database,
    pub(super) options: StoreOptions,
    pub(super) lease: Lease,
    pub(super) clock: DatabaseClock,
    /// Shared by those that take a job.
    pub(super) taking: RwLock<()>,
    /// The present turn at each backend, locked while a job is taken for that backend.
    pub(super) turns: Mutex<HashMap<usize, Arc<AsyncMutex<Option<Turn>>>>>,
    pub(super) lock_wait: LockWait,
    pub(super) cancels: Cancels,
    /// The destination of the event that was claimed last, locked while one is claimed.
    pub(super) claiming: AsyncMutex<String>,
    /// The events that are being sent.
    pub(super) sending: Mutex<HashMap<JobId, Sent>>,
    /// How many jobs are queued, as the feed has seen it last.
    pub(super) queued: AtomicUsize,
    /// The daemons, as they were last read.
    pub(super) fleet: Mutex<Option<Arc<Fleet>>>,
    /// Wakes the feed: a job or a daemon has changed.
    pub(super) feed: Notify,
}

impl State {
    pub(super) fn turn_of(&self, backend: usize) -> Arc<AsyncMutex<Option<Turn>>> {
        Arc::clone(self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(backend).or_default())
    }

    pub(super) fn sending(&self) -> MutexGuard<'_, HashMap<JobId, Sent>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Postgres {
    /// An attempt has ended here.
    fn ended(&self, job_id: &JobId) {
        self.shared.lease.release(job_id);
        self.shared.feed.notify_one();
    }
}

/// Converts a number for a column.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads jobs until the page is complete, so that no more results are in memory than it may have.
async fn list(client: &mut Client, query: Query) -> Result<Page, StoreError> {
    let columns = if query.results { STATUS } else { STATUS_WITHOUT_OUTPUT };
    let sql = format!(
        "SELECT {columns} FROM jobs WHERE owner = $1 AND number < $2 AND ($3::text IS NULL OR state = $3)
        ORDER BY number DESC LIMIT $4"
    );
    let before = query.before.map_or(i64::MAX, column);
    let state = query.state.as_ref().map(JobState::as_str);
    // One job more than the limit, which shows whether there is another page.
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1);
    let statement = client.prepare_cached(&sql).await?;
    let owner = &query.owner.as_bytes()[..];
    let values: [&(dyn ToSql + Sync); 4] = [&owner, &before, &state, &limit];
    let rows = client.query_raw(&statement, slice_iter(&values)).await?;
    let (mut rows, mut page) = (pin!(rows), PageBuilder::new(&query));
    while let Some(row) = rows.next().await {
        // Damage must not hide other jobs.
        let (number, status) = match status(&row?) {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(error = %failure(error.as_ref()), "job left out of a list: its row does not decode");
                continue;
            }
        };
        if !page.add(number.unsigned_abs(), Arc::new(status)) {
            break;
        }
    }
    Ok(page.finish())
}

fn slice_iter<'a>(values: &'a [&'a (dyn ToSql + Sync)]) -> impl ExactSizeIterator<Item = &'a dyn ToSql> + 'a {
    values.iter().map(|value| *value as _)
}

impl Store for Postgres {
    fn queue_id(&self) -> Uuid {
        self.shared.queue_id
    }

    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>> {
        let (reply, submitted) = oneshot::channel();
        let sent = self.submissions.send(Pending { new: Arc::new(new), reply });
        Box::pin(async move {
            sent.map_err(|_| StoreError::closed())?;
            submitted.await.unwrap_or_else(|_| Err(StoreError::closed()))
        })
    }

    fn take(&self, wanted: Wanted) -> Transaction<'_, Option<NextJob>> {
        Box::pin(taking::take(&self.shared, wanted))
    }

    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64, error: &'a str) -> Transaction<'a, Option<Taken>> {
        Box::pin(taking::restart(&self.shared, job_id, attempt, error))
    }

    fn requeue<'a>(&'a self, job_id: &'a JobId, attempt: u64, cost: Cost, error: &'a str) -> Transaction<'a, ()> {
        let error = error.replace('\0', "\u{fffd}");
        let (id, attempt, refund) = (job_id.as_str().to_owned(), column(attempt), i64::from(cost == Cost::Free));
        Box::pin(async move {
            let requeue = self.shared.database.run_locking(move |client| {
                Box::pin(async move { execute(client, REQUEUE, &[&id, &attempt, &refund, &error]).await })
            });
            requeue.await?;
            self.ended(job_id);
            Ok(())
        })
    }

    fn fail_overdue(&self) -> Transaction<'_, Overdue> {
        Box::pin(async move {
            let (failed, next) = self
                .shared
                .database
                .run_locking(|client| {
                    Box::pin(async move {
                        let failed = query(client, "SELECT fail_overdue($1)", &[&column(OVERDUE_LIMIT as u64)]).await?;
                        Ok((failed, query_opt(client, NEXT_DEADLINE, &[]).await?))
                    })
                })
                .await?;
            let jobs = job_ids(&failed);
            if !jobs.is_empty() {
                self.shared.feed.notify_one();
            }
            // By the clock of this daemon, which may differ from the database's.
            let mut pause = next.map(|row| SignedDuration::from_micros(row.get(0)));
            if jobs.is_empty() {
                // The tokens of the overdue jobs are locked.
                pause = pause.map(|pause| if pause.is_negative() { LOCKED_PAUSE } else { pause });
            }
            Ok(Overdue { jobs, next: pause.and_then(|pause| Timestamp::now().checked_add(pause).ok()) })
        })
    }

    fn interrupt(&self) -> Transaction<'_, ()> {
        let (id, most) = (self.shared.lease.id(), column(self.shared.options.attempts));
        Box::pin(async move {
            // First those that are not locked, and then those of one token after another.
            let mut may_wait = false;
            loop {
                let queued = self.shared.database.run(move |client| {
                    Box::pin(async move { query_opt(client, INTERRUPT, &[&id, &most, &may_wait]).await })
                });
                let queued = queued.await?.map_or(0, |row| row.get::<_, i64>(0));
                self.shared.feed.notify_one();
                if may_wait && queued == 0 {
                    return Ok(());
                }
                may_wait = true;
            }
        })
    }

    fn lease_lost(&self, job_id: &JobId) -> LeaseLost {
        Box::pin(self.shared.lease.of(job_id).cancelled_owned())
    }

    fn lease_left(&self) -> Option<Duration> {
        Some(self.shared.lease.left())
    }

    fn is_draining(&self) -> bool {
        self.shared.lease.is_draining()
    }

    fn fleet(&self) -> Option<Arc<Fleet>> {
        self.shared.fleet()
    }

    fn read_fleet(&self) -> Transaction<'_, Option<Arc<Fleet>>> {
        Box::pin(async move { boxes::read(&self.shared).await.map(Some) })
    }

    fn set_draining(&self, id: Uuid, draining: bool) -> Transaction<'_, bool> {
        Box::pin(boxes::set_draining(&self.shared, id, draining))
    }

    fn close(&self) -> Transaction<'_, ()> {
        let id = self.shared.lease.id();
        let closed =
            self.shared.database.run(move |client| Box::pin(async move { execute(client, CLOSE, &[&id]).await }));
        Box::pin(async move { closed.await.map(drop) })
    }

    fn finish<'a>(&'a self, job_id: &'a JobId, attempt: u64, outcome: Outcome) -> Transaction<'a, bool> {
        let (id, attempt) = (job_id.as_str().to_owned(), column(attempt));
        Box::pin(async move {
            let finished = self.shared.database.run_locking(move |client| {
                Box::pin(async move {
                    let (state, result, error, artifacts) = match &outcome {
                        Outcome::Done(output) => {
                            let artifacts = Some(&output.artifacts).filter(|artifacts| !artifacts.is_empty());
                            let artifacts = artifacts.map(serde_json::to_string).transpose();
                            let artifacts = artifacts.map_err(|error| StoreError::damaged_row(error.into()))?;
                            (JobState::Done, Some(output.result.get()), None, artifacts)
                        }
                        // PostgreSQL stores no NUL in text.
                        Outcome::Failed(error) => (JobState::Failed, None, Some(error.replace('\0', "\u{fffd}")), None),
                    };
                    execute(client, FINISH, &[&id, &attempt, &state.as_str(), &result, &error, &artifacts]).await
                })
            });
            let is_current = finished.await? > 0;
            self.ended(job_id);
            Ok(is_current)
        })
    }

    fn cancel<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Cancelled> {
        let (id, of_owner) = (job_id.as_str().to_owned(), owner.as_bytes().to_vec());
        Box::pin(async move {
            let mut turn = self.shared.cancels.turn(owner).await?;
            let cancelled = self.shared.database.run_locking(move |client| {
                Box::pin(async move {
                    let cancel = format!(
                        "UPDATE jobs SET state = 'failed', error = 'cancelled', completed_at = clock_timestamp(), body = NULL, box = NULL
                        FROM (SELECT owner AS locked FROM owners WHERE owner = $2 FOR UPDATE) AS owners
                        WHERE id = $1 AND jobs.owner = locked AND jobs.state IN ('queued', 'running') RETURNING {STATUS}"
                    );
                    if let Some(row) = query_opt(client, &cancel, &[&id, &of_owner]).await? {
                        return shared(&row).map(Cancelled::Ended).map_err(StoreError::damaged_row);
                    }
                    let state = query_opt(client, "SELECT state FROM jobs WHERE id = $1 AND owner = $2", &[&id, &of_owner]).await?;
                    Ok(state.map_or(Cancelled::Unknown, |row| Cancelled::Terminal(JobState::from(row.get::<_, &str>(0)))))
                })
            });
            let cancelled = match cancelled.await {
                Err(error) if error.is_locked() => {
                    turn.fail();
                    Err(StoreError::token_locked())
                }
                cancelled => cancelled,
            }?;
            self.shared.feed.notify_one();
            Ok(cancelled)
        })
    }

    fn check(&self) -> Transaction<'_, ()> {
        Box::pin(async move {
            self.shared
                .database
                .run(|client| Box::pin(async move { execute(client, CHECK, &[]).await }))
                .await
                .map(drop)
        })
    }

    fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    fn status<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Option<Arc<JobStatus>>> {
        let (id, owner) = (job_id.as_str().to_owned(), owner.as_bytes().to_vec());
        Box::pin(self.shared.database.run(move |client| {
            Box::pin(async move {
                let sql = format!("SELECT {STATUS} FROM jobs WHERE id = $1 AND owner = $2");
                let row = query_opt(client, &sql, &[&id, &owner]).await?;
                row.as_ref().map(shared).transpose().map_err(StoreError::damaged_row)
            })
        }))
    }

    fn progress<'a>(&'a self, job_id: &'a JobId) -> Transaction<'a, Option<JobProgress>> {
        let id = job_id.as_str().to_owned();
        Box::pin(self.shared.database.run(move |client| {
            Box::pin(async move {
                let Some(row) = query_opt(client, "SELECT state, attempt FROM jobs WHERE id = $1", &[&id]).await?
                else {
                    return Ok(None);
                };
                let attempt = count(&row, 1).map_err(StoreError::damaged_row)?;
                Ok(Some(JobProgress { state: JobState::from(row.get::<_, &str>(0)), attempt }))
            })
        }))
    }

    fn list(&self, query: Query) -> Transaction<'_, Page> {
        Box::pin(self.shared.database.run(move |client| Box::pin(list(client, query))))
    }

    fn claim(&self) -> Transaction<'_, Claim> {
        Box::pin(events::claim(&self.shared))
    }

    fn settle<'a>(&'a self, job_id: &'a JobId, verdict: Verdict) -> Transaction<'a, ()> {
        Box::pin(async move { events::settle(&self.shared, job_id, &verdict).await })
    }
}
