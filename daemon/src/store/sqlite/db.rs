use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::time::Instant;
use uuid::Uuid;

use super::index::Index;
use super::row::{QUEUED, STATUS, column, count, is_damaged, job_id, not_storable, queued, status, submission, time};
use crate::owner::Owner;
use crate::store::fresh_id::fresh_id;
use crate::store::key_column::key_column;
use crate::store::queue::QueuedJob;
use crate::store::{
    Cancelled, Cost, DEADLINE, Destination, IdempotencyKey, NewJob, NextJob, OVERDUE_LIMIT, Outcome, Overdue,
    StoreOptions, SubmitError, Submitted, Taken, Wanted,
};
use crate::{JobId, JobState};

pub(super) const JOB_BY_KEY: &str = "SELECT id, digest FROM jobs WHERE key = ? AND owner = ?";
pub(super) const JOB_STATE: &str = "SELECT state FROM jobs WHERE id = ? AND owner = ?";

pub(super) const RECORD_EVENT: &str = "INSERT INTO events (number, id, state, attempt, started_at, due_at)
    SELECT number, ?, state, attempt, started_at, ? FROM jobs WHERE number = ? AND webhook IS NOT NULL";

/// The writer's connection and the index. Its methods change both, within the open transaction.
#[derive(Debug)]
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) options: StoreOptions,
    /// Whether the index must be loaded again.
    pub(super) stale: bool,
    /// The jobs whose state has changed in the open transaction.
    pub(super) changed: Vec<i64>,
}

impl Db {
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the index again. If that fails, the index stays stale.
    pub(super) fn reload_index(&mut self) {
        let before = self.index();
        let (sending, numbers) = (Arc::clone(&before.sending), before.numbers);
        drop(before);
        match Index::load(self, sending) {
            Ok(mut index) => {
                // Numbers are never reused, even if the jobs with the highest ones are gone.
                index.numbers = index.numbers.max(numbers);
                *self.index() = index;
                self.stale = false;
            }
            Err(error) => tracing::error!(%error, "cannot load the queue from the store"),
        }
    }

    pub(super) fn submit(&mut self, new: &NewJob) -> rusqlite::Result<Result<Submitted, SubmitError>> {
        if let Some(key) = &new.key
            && let Some((job_id, digest)) = self.job_by_key(new.owner, key)?
        {
            if digest != key.digest {
                return Ok(Err(SubmitError::KeyReused));
            }
            if let Some(webhook) = &new.webhook {
                let number = self
                    .connection
                    .prepare_cached("UPDATE jobs SET webhook = ? WHERE id = ? RETURNING number")?
                    .query_row(params![webhook.to_string(), job_id.as_str()], |row| row.get(0))?;
                self.index().move_to(number, Destination::of(webhook));
            }
            if let Some(name) = &new.submission.event_stream {
                self.connection
                    .prepare_cached("UPDATE jobs SET event_stream = ? WHERE id = ?")?
                    .execute([name, job_id.as_str()])?;
            }
            return Ok(Ok(Submitted { job_id, replayed: true }));
        }
        let refused = self.index().queue.refuses(new.owner);
        if let Some(refused) = refused {
            return Ok(Err(refused));
        }
        let (job_id, number) = (fresh_id(), self.index().next_number());
        let key = new.key.as_ref();
        self.connection
            .prepare_cached(
                "INSERT INTO jobs
                 (number, id, owner, state, model, created_at, body, webhook, traceparent, key, digest, event_stream,
                  priority, start_by)
                 VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                number,
                job_id.as_str(),
                new.owner.as_bytes(),
                new.submission.model,
                Timestamp::now().as_microsecond(),
                &*new.body,
                new.webhook.as_ref().map(ToString::to_string),
                new.traceparent.as_ref().map(http::HeaderValue::as_bytes),
                key.map(|key| key_column(&key.text)),
                key.map(|key| key.digest),
                new.submission.event_stream,
                new.priority,
                new.start_by.map(Timestamp::as_microsecond),
            ])?;
        if new.webhook.is_some() {
            self.record(number)?;
        } else {
            self.changed.push(number);
        }
        let (owner, priority, start_by) = (new.owner, new.priority, new.start_by);
        let job = QueuedJob { owner, priority, start_by, job_id: job_id.clone() };
        self.index().enqueue(number, &new.submission.model, job);
        Ok(Ok(Submitted { job_id, replayed: false }))
    }

    /// The owner's job with this key, and the digest of its request body.
    fn job_by_key(&self, owner: Owner, key: &IdempotencyKey) -> rusqlite::Result<Option<(JobId, [u8; 32])>> {
        self.connection
            .prepare_cached(JOB_BY_KEY)?
            .query_row(params![key_column(&key.text), owner.as_bytes()], |row| Ok((job_id(row, 0)?, row.get(1)?)))
            .optional()
    }

    pub(super) fn take(&mut self, wanted: &Wanted) -> rusqlite::Result<Option<NextJob>> {
        loop {
            let popped = self.index().queue.pop(wanted);
            let Some((popped, job_id)) = popped else { return Ok(None) };
            let Some((number, next)) = self.start(&job_id, None)? else {
                // It is not in the file any more.
                self.index().queue.ended(popped);
                continue;
            };
            self.record(number)?;
            return Ok(Some(next));
        }
    }

    pub(super) fn restart(&mut self, job_id: &JobId, attempt: u64, error: &str) -> rusqlite::Result<Option<Taken>> {
        if !self.is_current(job_id, attempt)? {
            return Ok(None);
        }
        match self.start(job_id, Some(error))? {
            Some((_, NextJob::Run(taken))) => Ok(Some(taken)),
            Some((number, NextJob::Damaged(_))) => self.record(number).map(|()| None),
            None => Ok(None),
        }
    }

    /// Starts an attempt of a job that has not ended. `error`: why the one before failed, if that is not stored yet.
    ///
    /// Damage must not stop other jobs: a job whose row does not decode fails.
    fn start(&mut self, job_id: &JobId, error: Option<&str>) -> rusqlite::Result<Option<(i64, NextJob)>> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT number, attempt, body, spent, CASE WHEN spent = 0 THEN start_by END
                 FROM jobs WHERE id = ? AND state IN ('queued', 'running')",
            )?
            .query_row([job_id.as_str()], |row| {
                let taken = count(row, 1).and_then(|attempt| {
                    let attempt = attempt.saturating_add(1);
                    let spent = count(row, 3)?.saturating_add(1);
                    let (submission, start_by) = (submission(row, 2)?, time(row, 4)?);
                    Ok(Taken { job_id: job_id.clone(), attempt, spent, start_by, submission })
                });
                Ok((row.get(0)?, taken))
            })
            .optional()?;
        match found {
            None => Ok(None),
            Some((number, Ok(taken))) => {
                self.connection
                    .prepare_cached(
                        "UPDATE jobs SET state = 'running', attempt = attempt + 1, spent = ?, started_at = ?,
                         error = coalesce(?, error) WHERE number = ?",
                    )?
                    .execute(params![column(taken.spent), Timestamp::now().as_microsecond(), error, number])?;
                Ok(Some((number, NextJob::Run(taken))))
            }
            Some((number, Err(error))) if is_damaged(&error) => {
                tracing::error!(%job_id, %error, "job failed: its row does not decode");
                self.fail(number, "submission damaged in the store")?;
                Ok(Some((number, NextJob::Damaged(job_id.clone()))))
            }
            Some((_, Err(error))) => Err(error),
        }
    }

    pub(super) fn requeue(&mut self, job_id: &JobId, attempt: u64, cost: Cost, error: &str) -> rusqlite::Result<()> {
        if !self.is_current(job_id, attempt)? {
            return Ok(());
        }
        let refund = i64::from(cost == Cost::Free);
        let (number, (model, job)) = self
            .connection
            .prepare_cached(&format!(
                "UPDATE jobs SET state = 'queued', spent = max(spent - ?1, 0), error = ?2,
                 started_at = CASE WHEN spent > ?1 THEN started_at END
                 WHERE id = ?3 RETURNING number, {QUEUED}"
            ))?
            .query_row(params![refund, error, job_id.as_str()], |row| {
                Ok((row.get(0)?, queued(row, job_id.clone(), 1)?))
            })?;
        self.record(number)?;
        let priority = self.index().enqueue_behind(number, &model, job);
        self.connection
            .prepare_cached("UPDATE jobs SET priority = ? WHERE number = ? AND priority > ?1")?
            .execute(params![priority, number])?;
        Ok(())
    }

    /// Fails the queued jobs whose time has passed.
    pub(super) fn fail_overdue(&mut self) -> rusqlite::Result<Overdue> {
        let (now, mut jobs) = (Timestamp::now(), Vec::new());
        while jobs.len() < OVERDUE_LIMIT {
            let overdue = self.index().queue.overdue(now);
            let Some(job_id) = overdue else { break };
            let number: i64 = self
                .connection
                .prepare_cached("SELECT number FROM jobs WHERE id = ?")?
                .query_row([job_id.as_str()], |row| row.get(0))?;
            self.fail(number, DEADLINE)?;
            self.record(number)?;
            jobs.push(job_id);
        }
        Ok(Overdue { jobs, next: self.index().queue.next_deadline() })
    }

    /// Fails a job in any state.
    pub(super) fn fail(&self, number: i64, error: &str) -> rusqlite::Result<()> {
        self.index().ended(number);
        self.connection
            .prepare_cached(
                "UPDATE jobs SET state = 'failed', error = ?, completed_at = ?, body = NULL WHERE number = ?",
            )?
            .execute(params![error, Timestamp::now().as_microsecond(), number])?;
        Ok(())
    }

    fn is_current(&self, job_id: &JobId, attempt: u64) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM jobs WHERE id = ? AND state = 'running' AND attempt = ?")?
            .exists(params![job_id.as_str(), column(attempt)])
    }

    pub(super) fn finish(&mut self, job_id: &JobId, attempt: u64, outcome: &Outcome) -> rusqlite::Result<bool> {
        if !self.is_current(job_id, attempt)? {
            return Ok(false);
        }
        let (state, result, error, artifacts) = match outcome {
            Outcome::Done(output) => {
                let artifacts = Some(&output.artifacts).filter(|artifacts| !artifacts.is_empty());
                let artifacts = artifacts.map(serde_json::to_string).transpose().map_err(not_storable)?;
                (JobState::Done, Some(output.result.get()), None, artifacts)
            }
            Outcome::Failed(error) => (JobState::Failed, None, Some(error.as_str()), None),
        };
        let number = self
            .connection
            .prepare_cached(
                "UPDATE jobs SET state = ?, result = ?, error = ?, artifacts = ?, completed_at = ?, body = NULL
                 WHERE id = ? RETURNING number",
            )?
            .query_row(
                params![state.as_str(), result, error, artifacts, Timestamp::now().as_microsecond(), job_id.as_str()],
                |row| row.get(0),
            )?;
        self.index().ended(number);
        self.record(number)?;
        Ok(true)
    }

    pub(super) fn cancel(&mut self, owner: Owner, job_id: &JobId) -> rusqlite::Result<Cancelled> {
        let cancelled = self
            .connection
            .prepare_cached(&format!(
                "UPDATE jobs SET state = 'failed', error = 'cancelled', completed_at = ?, body = NULL
                 WHERE id = ? AND owner = ? AND state IN ('queued', 'running') RETURNING {STATUS}"
            ))?
            .query_row(params![Timestamp::now().as_microsecond(), job_id.as_str(), owner.as_bytes()], status)
            .optional()?;
        if let Some((number, status)) = cancelled {
            self.index().ended(number);
            self.record(number)?;
            return Ok(Cancelled::Ended(Arc::new(status)));
        }
        let state = self
            .connection
            .prepare_cached(JOB_STATE)?
            .query_row(params![job_id.as_str(), owner.as_bytes()], |row| Ok(JobState::from(row.get_ref(0)?.as_str()?)))
            .optional()?;
        Ok(state.map_or(Cancelled::Unknown, Cancelled::Terminal))
    }

    /// Records the events of a job's state: in the outbox, if the job has a callback URL, and for the event streams.
    pub(super) fn record(&mut self, number: i64) -> rusqlite::Result<()> {
        self.changed.push(number);
        let recorded = self.connection.prepare_cached(RECORD_EVENT)?.execute(params![
            format!("msg_{}", Uuid::now_v7().simple()),
            Timestamp::now().as_millisecond(),
            number
        ])?;
        if recorded > 0 {
            self.index().schedule(number, None, Instant::now());
        }
        Ok(())
    }
}
