use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::db::Db;
use super::thread::{Done, Task};
use crate::store::StoreError;

/// How many transactions share one commit at most, so that the first of them does not wait for ever.
const GROUP: usize = 1024;

/// How often the writer looks for jobs that have been kept long enough.
const SWEEP: Duration = Duration::from_secs(10);

/// Does what has come together as one transaction of the file, until nothing can come any more.
pub(super) fn write(mut db: Db, tasks: &Receiver<Task<Db>>) {
    let mut swept = Instant::now();
    loop {
        match tasks.recv_timeout(SWEEP) {
            Ok(first) => group(&mut db, std::iter::once(first).chain(tasks.try_iter().take(GROUP - 1))),
            Err(RecvTimeoutError::Timeout) if db.stale => db.renew(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if swept.elapsed() >= SWEEP {
            match db.sweep() {
                // There may be more of them.
                Ok(jobs) if jobs > 0 => {}
                Ok(_) => swept = Instant::now(),
                Err(error) => {
                    swept = Instant::now();
                    tracing::warn!(%error, "old jobs cannot be swept");
                }
            }
        }
    }
}

fn group(db: &mut Db, tasks: impl Iterator<Item = Task<Db>>) {
    let sending = Arc::clone(&db.index().sending);
    let mut broken = batch(db, "BEGIN").err();
    let mut replies = Vec::new();
    for task in tasks {
        let (done, ended) = one(db, task, broken.as_ref());
        db.stale |= done.failed;
        broken = broken.or(ended);
        replies.push(done.reply);
    }
    let committed = broken.map_or_else(|| batch(db, "COMMIT"), Err);
    if let Err(error) = &committed {
        tracing::error!(%error, "a group of changes was not kept");
        db.stale = true;
        // Nobody was told of an event to be sent, and who settled one does so again.
        db.index().sending = sending;
        if !db.connection.is_autocommit() {
            // What cannot be taken back is taken back when the file is opened again.
            let _ = batch(db, "ROLLBACK");
        }
    }
    if db.stale {
        db.renew();
    }
    for reply in replies {
        reply(committed.clone());
    }
}

/// Does one of a group, and takes it back alone if it fails. Some failures (a full disk) end the transaction of the whole
/// group: that is the second of what it gives back.
fn one(db: &mut Db, task: Task<Db>, broken: Option<&StoreError>) -> (Done, Option<StoreError>) {
    let begun = broken.cloned().map_or_else(|| batch(db, "SAVEPOINT one"), Err);
    if let Err(error) = begun {
        return (task(Err(error.clone())), Some(error));
    }
    let sending = Arc::clone(&db.index().sending);
    let done = task(Ok(db));
    if done.failed {
        db.index().sending = sending;
    }
    if db.connection.is_autocommit() {
        return (done, Some(StoreError::ended()));
    }
    if done.failed
        && let Err(error) = batch(db, "ROLLBACK TO one")
    {
        return (done, Some(error));
    }
    let released = batch(db, "RELEASE one");
    (done, released.err())
}

fn batch(db: &Db, sql: &str) -> Result<(), StoreError> {
    Ok(db.connection.prepare_cached(sql)?.execute([]).map(drop)?)
}
