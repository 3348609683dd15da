use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::db::Db;
use super::thread::{Finished, Task};
use crate::store::StoreError;

/// The largest group, in changes. It bounds how long the first one waits.
const MAX_GROUP: usize = 1024;

/// How often the writer deletes expired jobs.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Runs the changes that have arrived as one group, until the sender is dropped. Then it leaves all data in the file itself.
///
/// # Errors
///
/// If the file is damaged: what is written to it after that may destroy more.
pub(super) fn write(mut db: Db, tasks: &Receiver<Task<Db>>) -> Result<(), StoreError> {
    let mut swept = Instant::now();
    loop {
        match tasks.recv_timeout(SWEEP_INTERVAL) {
            Ok(first) => group(&mut db, std::iter::once(first).chain(tasks.try_iter().take(MAX_GROUP - 1)))?,
            Err(RecvTimeoutError::Timeout) if db.stale => db.reload_index(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if swept.elapsed() >= SWEEP_INTERVAL {
            match db.sweep() {
                // There may be more of them.
                Ok(jobs) if jobs > 0 => {}
                Ok(_) => swept = Instant::now(),
                Err(error) => {
                    swept = Instant::now();
                    tracing::warn!(%error, "cannot delete expired jobs");
                    let error = StoreError::from(error);
                    if error.damaged {
                        return Err(error);
                    }
                }
            }
        }
    }
    if let Err(error) = db.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        tracing::warn!(%error, "cannot move the write-ahead log into the store file; the next start does it");
    }
    Ok(())
}

/// Fails if the file is damaged.
fn group(db: &mut Db, tasks: impl Iterator<Item = Task<Db>>) -> Result<(), StoreError> {
    let sending = Arc::clone(&db.index().sending);
    // With the lock for writing. Another process that has the file locked delays the group once, and not each of its changes.
    let mut group_error = execute(db, "BEGIN IMMEDIATE").err();
    let mut damage = None;
    let mut replies = Vec::new();
    for task in tasks {
        let (done, ended) = run_change(db, task, group_error.as_ref());
        db.stale |= done.error.is_some();
        damage = damage.or(done.error.filter(|error| error.damaged));
        group_error = group_error.or(ended);
        replies.push(done.reply);
    }
    let committed = group_error.map_or_else(|| execute(db, "COMMIT"), Err);
    if let Err(error) = &committed {
        tracing::error!(%error, "commit failed");
        db.stale = true;
        // No claim has returned, and a failed settlement is repeated.
        db.index().sending = sending;
        if !db.connection.is_autocommit() {
            // If this fails, SQLite rolls back when the file is opened again.
            let _ = execute(db, "ROLLBACK");
        }
    }
    damage = damage.or(committed.as_ref().err().filter(|error| error.damaged).cloned());
    if db.stale && damage.is_none() {
        db.reload_index();
    }
    if committed.is_ok() {
        db.publish();
    }
    db.changed.clear();
    for reply in replies {
        reply(committed.clone());
    }
    damage.map_or(Ok(()), Err)
}

/// Runs one change of a group, and rolls back that change alone if it fails. Some failures (a full disk) end the transaction
/// of the whole group; then the second value is the group's error.
fn run_change(db: &mut Db, task: Task<Db>, group_error: Option<&StoreError>) -> (Finished, Option<StoreError>) {
    let begun = group_error.cloned().map_or_else(|| execute(db, "SAVEPOINT change"), Err);
    if let Err(error) = begun {
        return (task(Err(error.clone())), Some(error));
    }
    let sending = Arc::clone(&db.index().sending);
    let changed = db.changed.len();
    let done = task(Ok(db));
    let failed = done.error.is_some();
    if failed {
        db.changed.truncate(changed);
        db.index().sending = sending;
    }
    if db.connection.is_autocommit() {
        return (done, Some(StoreError::rolled_back()));
    }
    if failed && let Err(error) = execute(db, "ROLLBACK TO change") {
        return (done, Some(error));
    }
    let released = execute(db, "RELEASE change");
    (done, released.err())
}

fn execute(db: &Db, sql: &str) -> Result<(), StoreError> {
    Ok(db.connection.prepare_cached(sql)?.execute([]).map(drop)?)
}
