use std::sync::Arc;

use deadpool_postgres::Client;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::connection::{execute, query_opt};
use super::row::count;
use super::store::State;
use crate::failure::failure;
use crate::job_spec::JobSpec;
use crate::store::{NextJob, StoreError, Taken, Wanted};
use crate::{BoxError, JobId};

/// Starts the next job of a token.
const TAKE: &str = "SELECT id, attempt, spent, body, model, priority FROM take_job($1, $2, $3, $4, $5, $6)";

/// Starts the first job of the next token. A row without a job has a token that is locked, and was passed over.
const TAKE_NEXT: &str = "SELECT id, attempt, spent, body, model, priority, owner FROM take_next($1, $2, $3, $4, $5)";

/// The next turn of a token comes after those of the tokens that wait now. One that is locked retains its turn.
const END_TURN: &str = "SELECT end_turn(owner, turn) FROM (SELECT owner, turn FROM owners WHERE owner = $1 FOR UPDATE SKIP LOCKED) AS locked";

const RESTART: &str =
    "UPDATE jobs SET attempt = attempt + 1, spent = spent + 1, started_at = clock_timestamp(), box = $3,
        error = $4
    WHERE id = $1 AND state = 'running' AND attempt = $2
        AND EXISTS (SELECT FROM boxes WHERE id = $3 AND leased_until > clock_timestamp())
    RETURNING id, attempt, spent, body, model";

const FAIL_DAMAGED: &str = "UPDATE jobs SET state = 'failed', error = 'submission damaged in the store',
        completed_at = clock_timestamp(), body = NULL, box = NULL
    WHERE id = $1 AND state = 'running' AND attempt = $2";

/// The turn of a token at a backend of this daemon: a batch of jobs of one model, which is loaded here.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    owner: Vec<u8>,
    model: String,
    priority: i16,
    /// How many more jobs it may have.
    left: usize,
}

/// Takes the next job of the present turn, or of the next one.
pub(super) async fn take(shared: &State, wanted: Wanted) -> Result<Option<NextJob>, StoreError> {
    // A backend whose token is locked delays no other.
    let turn = shared.turn_of(wanted.backend);
    let (mut turn, _taking) = (turn.lock().await, shared.taking.read().await);
    let (id, lease) = (shared.lease.id(), shared.lease.token());
    if lease.is_cancelled() || shared.lease.is_draining() {
        return Ok(None);
    }
    let (present, batch) = (turn.clone(), shared.options.batch.get());
    let models = wanted.models.as_ref().map(|models| models.spellings());
    let most = i64::try_from(shared.options.max_queue.running_of_owner).unwrap_or(i64::MAX);
    let request = Request { id, present, models, batch, most };
    let mut wait_millis = shared.lock_wait.millis();
    let taken = loop {
        let request = request.clone();
        match shared.database.run(move |client| Box::pin(take_next(client, request, wait_millis))).await {
            Err(error) if error.is_lock_timeout() && wait_millis > 0 => shared.lock_wait.timed_out(),
            taken => break taken?,
        }
        wait_millis = 0;
    };
    let Some((row, next)) = taken else { return Ok(None) };
    *turn = Some(next);
    shared.feed.notify_one();
    let attempt = count(&row, 1).map_err(StoreError::damaged_row)?;
    let (job_id, taken) = match started(&row) {
        Ok(started) => started,
        Err(error) => {
            fail_damaged(shared, row.get(0), attempt, &error).await?;
            return Err(StoreError::damaged_row(error));
        }
    };
    match taken {
        Ok(taken) => {
            shared.lease.hold(job_id, lease);
            Ok(Some(NextJob::Run(taken)))
        }
        Err(error) => {
            fail_damaged(shared, job_id.as_str(), attempt, &error).await?;
            Ok(Some(NextJob::Damaged(job_id)))
        }
    }
}

/// What a daemon takes.
#[derive(Debug, Clone)]
struct Request {
    id: Uuid,
    present: Option<Turn>,
    models: Option<Vec<String>>,
    batch: usize,
    most: i64,
}

/// Fails with a lock timeout if the next token stays locked for so many milliseconds, unless they are 0.
async fn take_next(
    client: &mut Client,
    Request { id, present, models, batch, most }: Request,
    wait_millis: i32,
) -> Result<Option<(Row, Turn)>, StoreError> {
    if let Some(turn) = present.clone().filter(|turn| turn.left > 0)
        && let Some(row) = unless_locked(
            query_opt(client, TAKE, &[&id, &turn.owner, &models, &turn.model, &turn.priority, &most]).await,
        )?
    {
        return Ok(Some((row, Turn { left: turn.left - 1, ..turn })));
    }
    let before = present.map(|turn| turn.owner);
    let next = query_opt(client, TAKE_NEXT, &[&id, &before, &models, &most, &wait_millis]).await;
    let next = if wait_millis > 0 { next? } else { unless_locked(next)? };
    let Some(next) = next else { return Ok(None) };
    let owner: Vec<u8> = next.get(6);
    let row = if next.get::<_, Option<&str>>(0).is_some() {
        next
    } else {
        // A token to which jobs are submitted is locked most of the time. While there is no other, its lock is worth waiting for.
        let values: [&(dyn ToSql + Sync); 6] = [&id, &owner, &models, &None::<&str>, &None::<i16>, &most];
        let Some(row) = unless_locked(query_opt(client, TAKE, &values).await)? else { return Ok(None) };
        if before.as_ref().is_some_and(|before| *before != owner) {
            execute(client, END_TURN, &[&before]).await?;
        }
        row
    };
    let turn = Turn { owner, model: row.get(4), priority: row.get(5), left: batch - 1 };
    Ok(Some((row, turn)))
}

/// A lock that is held for long is no failure: the next attempt to take a job is soon.
fn unless_locked(taken: Result<Option<Row>, StoreError>) -> Result<Option<Row>, StoreError> {
    match taken {
        Err(error) if error.is_lock_timeout() => {
            tracing::warn!(error = %failure(&error), "no job taken: the queue of a token is locked");
            Ok(None)
        }
        taken => taken,
    }
}

pub(super) async fn restart(
    shared: &State,
    job_id: &JobId,
    attempt: u64,
    error: &str,
) -> Result<Option<Taken>, StoreError> {
    let error = error.replace('\0', "\u{fffd}");
    let (id, lease) = (job_id.as_str().to_owned(), shared.lease.token());
    let (this, before) = (shared.lease.id(), i64::try_from(attempt).unwrap_or(i64::MAX));
    let row = shared
        .database
        .run_locking(move |client| {
            Box::pin(async move { query_opt(client, RESTART, &[&id, &before, &this, &error]).await })
        })
        .await?;
    // If its answer was lost, the job is given back by the maintenance.
    let Some(row) = row else {
        shared.lease.release(job_id);
        return Ok(None);
    };
    shared.feed.notify_one();
    match started(&row).map_err(StoreError::damaged_row)? {
        (job_id, Ok(taken)) => {
            shared.lease.hold(job_id, lease);
            Ok(Some(taken))
        }
        (job_id, Err(error)) => {
            fail_damaged(shared, job_id.as_str(), attempt + 1, &error).await?;
            Ok(None)
        }
    }
}

/// Reads a job that was started. The database, whose clock counts, has checked its deadline. The inner error is that of its submission.
fn started(row: &Row) -> Result<(JobId, Result<Taken, BoxError>), BoxError> {
    let job_id = JobId::new(row.try_get::<_, String>(0)?)?;
    let taken = submission(row).and_then(|submission| {
        Ok(Taken { job_id: job_id.clone(), attempt: count(row, 1)?, spent: count(row, 2)?, start_by: None, submission })
    });
    Ok((job_id, taken))
}

fn submission(row: &Row) -> Result<Arc<JobSpec>, BoxError> {
    Ok(Arc::new(serde_json::from_slice(row.try_get(3)?)?))
}

/// Damage must not stop other jobs.
async fn fail_damaged(shared: &State, job_id: &str, attempt: u64, error: &BoxError) -> Result<(), StoreError> {
    tracing::error!(job_id, error = %failure(error.as_ref()), "job failed: its row does not decode");
    let (id, attempt) = (job_id.to_owned(), i64::try_from(attempt).unwrap_or(i64::MAX));
    let failed = shared
        .database
        .run_locking(move |client| Box::pin(async move { execute(client, FAIL_DAMAGED, &[&id, &attempt]).await }));
    failed.await.map(drop)
}
