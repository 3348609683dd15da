use std::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use tokio::time::Instant;
use uuid::Uuid;

use super::db::Db;
use super::group;
use super::index::Index;
use super::open::{open, open_error};
use super::open_error::OpenError;
use super::row::{STATUS, STATUS_WITHOUT_OUTPUT, progress, status};
use super::thread::{Finished, StoreThread, Task};
use crate::owner::Owner;
use crate::store::{
    Cancelled, Claim, Cost, JobProgress, NewJob, NextJob, Outcome, Overdue, Page, Query, Store, StoreError,
    StoreOptions, SubmitError, Submitted, Taken, Transaction, Verdict, Wanted,
};
use crate::{JobId, JobStatus};

/// Stores jobs in a SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    /// Closed before the writer, whose connection is then the last one and removes the write-ahead log.
    reader: StoreThread<Connection>,
    pub(super) writer: StoreThread<Db>,
    index: Arc<Mutex<Index>>,
    queue_id: Uuid,
}

impl Sqlite {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a file. Jobs that were running when it was last open are queued again, unless that was their last attempt.
    pub(crate) fn open(path: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let opened = open(path)?;
        let queue_id = opened.reader.query_row("SELECT id FROM queue", [], |row| row.get(0).map(Uuid::from_bytes));
        let queue_id = queue_id.map_err(open_error)?;
        let vital = options.vital.clone();
        let index = Arc::new(Mutex::new(Index::new(&options)));
        let mut db =
            Db { connection: opened.writer, index: Arc::clone(&index), stale: false, options, changed: Vec::new() };
        recover(&mut db).map_err(open_error)?;
        let lock = opened.lock;
        let writer = StoreThread::start("foreman-writer", vital.clone(), move |tasks| {
            let written = group::write(db, &tasks);
            // Not only closed: a process that another thread is about to start still has the file open too, for a moment.
            let _ = lock.unlock();
            written
        });
        let connection = opened.reader;
        let reader = StoreThread::start("foreman-reader", vital, move |tasks| read(connection, &tasks));
        let (writer, reader) = (writer.map_err(OpenError::thread)?, reader.map_err(OpenError::thread)?);
        Ok(Self { writer, reader, index, queue_id })
    }
}

/// Prepares file and index for a daemon. If it fails, the file is unchanged.
fn recover(db: &mut Db) -> rusqlite::Result<()> {
    db.connection.execute_batch("BEGIN IMMEDIATE")?;
    db.recover()?;
    db.connection.execute_batch("COMMIT")?;
    // No stream can be open yet.
    db.changed.clear();
    let loaded = Index::load(db, Arc::default())?;
    *db.index() = loaded;
    Ok(())
}

/// Fails if the file is damaged.
fn read(mut connection: Connection, tasks: &std::sync::mpsc::Receiver<Task<Connection>>) -> Result<(), StoreError> {
    for task in tasks {
        let Finished { error, reply } = task(Ok(&mut connection));
        reply(Ok(()));
        if let Some(error) = error.filter(|error| error.damaged) {
            return Err(error);
        }
    }
    Ok(())
}

/// Adds the position in the queue to a status.
fn with_position(index: &Mutex<Index>, (number, mut status): (i64, JobStatus)) -> (i64, Arc<JobStatus>) {
    if status.state == crate::JobState::Queued {
        status.position = index.lock().unwrap_or_else(PoisonError::into_inner).position(number);
    }
    (number, Arc::new(status))
}

/// Selects one job more than the limit, which shows whether there is another page.
pub(super) fn page_sql(query: &Query) -> String {
    let filter = if query.state.is_some() { "AND state = ?3" } else { "" };
    let limit = query.limit.saturating_add(1);
    let columns = if query.results { STATUS } else { STATUS_WITHOUT_OUTPUT };
    format!("SELECT {columns} FROM jobs WHERE owner = ?1 AND number < ?2 {filter} ORDER BY number DESC LIMIT {limit}")
}

fn page(connection: &Connection, index: &Mutex<Index>, query: &Query) -> rusqlite::Result<Page> {
    let sql = page_sql(query);
    let before = query.before.and_then(|before| before.try_into().ok()).unwrap_or(i64::MAX);
    let mut values = vec![Value::Blob(query.owner.as_bytes().to_vec()), Value::Integer(before)];
    values.extend(query.state.iter().map(|state| Value::Text(state.as_str().to_owned())));
    let mut found = connection.prepare_cached(&sql)?;
    let found = found.query_map(params_from_iter(values), status)?;
    let with_position = |row| {
        let (number, status) = with_position(index, row);
        (number.unsigned_abs(), status)
    };
    Page::of(query, found.map(|row| row.map(with_position)))
}

impl Store for Sqlite {
    fn queue_id(&self) -> Uuid {
        self.queue_id
    }

    fn submit(&self, new: NewJob) -> Transaction<'_, Result<Submitted, SubmitError>> {
        Box::pin(self.writer.run(move |db| db.submit(&new)))
    }

    fn take(&self, wanted: Wanted) -> Transaction<'_, Option<NextJob>> {
        // A job is in the index before a worker is woken, so that without one there is no transaction.
        if !self.index().queue.has(&wanted) {
            return Box::pin(ready(Ok(None)));
        }
        Box::pin(self.writer.run(move |db| db.take(&wanted)))
    }

    fn restart<'a>(&'a self, job_id: &'a JobId, attempt: u64, error: &'a str) -> Transaction<'a, Option<Taken>> {
        let (job_id, error) = (job_id.clone(), error.to_owned());
        Box::pin(self.writer.run(move |db| db.restart(&job_id, attempt, &error)))
    }

    fn requeue<'a>(&'a self, job_id: &'a JobId, attempt: u64, cost: Cost, error: &'a str) -> Transaction<'a, ()> {
        let (job_id, error) = (job_id.clone(), error.to_owned());
        Box::pin(self.writer.run(move |db| db.requeue(&job_id, attempt, cost, &error)))
    }

    fn fail_overdue(&self) -> Transaction<'_, Overdue> {
        match self.index().queue.next_deadline() {
            Some(at) if at < Timestamp::now() => Box::pin(self.writer.run(Db::fail_overdue)),
            next => Box::pin(ready(Ok(Overdue { jobs: Vec::new(), next }))),
        }
    }

    fn interrupt(&self) -> Transaction<'_, ()> {
        Box::pin(self.writer.run(Db::interrupt))
    }

    fn finish<'a>(&'a self, job_id: &'a JobId, attempt: u64, outcome: Outcome) -> Transaction<'a, bool> {
        let job_id = job_id.clone();
        Box::pin(self.writer.run(move |db| db.finish(&job_id, attempt, &outcome)))
    }

    fn cancel<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Cancelled> {
        let job_id = job_id.clone();
        Box::pin(self.writer.run(move |db| db.cancel(owner, &job_id)))
    }

    fn check(&self) -> Transaction<'_, ()> {
        Box::pin(self.writer.run(|_| Ok(())))
    }

    fn queued(&self) -> usize {
        self.index().queue.len()
    }

    fn status<'a>(&'a self, owner: Owner, job_id: &'a JobId) -> Transaction<'a, Option<Arc<JobStatus>>> {
        let (job_id, index) = (job_id.clone(), Arc::clone(&self.index));
        Box::pin(self.reader.run(move |connection| {
            let mut found =
                connection.prepare_cached(&format!("SELECT {STATUS} FROM jobs WHERE id = ? AND owner = ?"))?;
            let found = found.query_row(params![job_id.as_str(), owner.as_bytes()], status).optional()?;
            Ok(found.map(|row| with_position(&index, row).1))
        }))
    }

    fn progress<'a>(&'a self, job_id: &'a JobId) -> Transaction<'a, Option<JobProgress>> {
        let job_id = job_id.clone();
        Box::pin(self.reader.run(move |connection| {
            let mut found = connection.prepare_cached("SELECT state, attempt FROM jobs WHERE id = ?")?;
            found.query_row([job_id.as_str()], progress).optional()
        }))
    }

    fn list(&self, query: Query) -> Transaction<'_, Page> {
        let index = Arc::clone(&self.index);
        Box::pin(self.reader.run(move |connection| page(connection, &index, &query)))
    }

    fn claim(&self) -> Transaction<'_, Claim> {
        match self.index().next_due() {
            None => Box::pin(ready(Ok(Claim::Nothing))),
            Some(at) if at > Instant::now() => Box::pin(ready(Ok(Claim::At(at)))),
            Some(_) => Box::pin(self.writer.run(Db::claim)),
        }
    }

    fn settle<'a>(&'a self, job_id: &'a JobId, verdict: Verdict) -> Transaction<'a, ()> {
        let job_id = job_id.clone();
        Box::pin(self.writer.run(move |db| db.settle(&job_id, &verdict)))
    }
}
