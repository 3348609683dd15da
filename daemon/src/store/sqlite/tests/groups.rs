//! Groups of changes in which some fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rusqlite::Connection;
use tokio_test::block_on;

use super::support::{new_job, open, path, submit, take};
use crate::owner::Owner;
use crate::store::{Query, Store as _};

#[test]
fn full_disk_rejects_submission_and_keeps_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let job_id = submit(&store, "first");
    let limit = |pages: &'static str| {
        block_on(store.writer.run(move |db| db.connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))))
            .unwrap();
    };
    limit("1");
    let long = "x".repeat(200_000);
    let error = block_on(store.submit(new_job(None, &long))).unwrap_err();
    assert_eq!(error.to_string(), "store disk full");
    // It is not in the queue either.
    assert_eq!(block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap().position, Some(1));
    limit("1000000");
    assert_eq!(
        block_on(store.list(Query { owner: Owner::ANONYMOUS, state: None, before: None, limit: 9, results: true }))
            .unwrap()
            .jobs
            .len(),
        1
    );
    let second = submit(&store, &long);
    assert_eq!(take(&store).unwrap().job_id, job_id);
    assert_eq!(take(&store).unwrap().job_id, second);
    assert!(take(&store).is_none());
}

#[test]
fn failed_change_does_not_affect_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (bad, good) = block_on(async {
        let bad = store.writer.run(|db| {
            db.submit(&new_job(None, "half done"))?.unwrap();
            db.connection.execute_batch("INSERT INTO nowhere VALUES (1)")
        });
        tokio::join!(bad, store.submit(new_job(None, "whole")))
    });
    assert_eq!(bad.unwrap_err().to_string(), "store failure");
    let job_id = good.unwrap().unwrap().job_id;
    assert_eq!(take(&store).unwrap().job_id, job_id);
    assert!(take(&store).is_none());
}

/// While another process has the file locked, the changes of a group wait for the lock once and together.
#[test]
fn locked_file_delays_a_group_once() {
    static WAITS: AtomicUsize = AtomicUsize::new(0);
    static ARRIVED: Mutex<Option<Receiver<()>>> = Mutex::new(None);
    /// In place of SQLite's waiting: the first time it waits until all changes have arrived, and gives up each time.
    fn give_up(_: i32) -> bool {
        WAITS.fetch_add(1, Relaxed);
        if let Some(arrived) = ARRIVED.lock().unwrap().take() {
            // Ends with the sender.
            let _ = arrived.recv();
        }
        false
    }

    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(store.writer.run(|db| db.connection.busy_handler(Some(give_up)))).unwrap();
    let lock = Connection::open(path(&folder)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (all_arrived, arrived) = channel();
    *ARRIVED.lock().unwrap() = Some(arrived);
    let mut changes = Box::pin(join_all((0..5).map(|_| store.submit(new_job(None, "go")))));
    assert!(changes.as_mut().now_or_never().is_none());
    drop(all_arrived);
    for change in block_on(changes) {
        assert_eq!(change.unwrap_err().to_string(), "store locked by another process");
    }
    assert_eq!(WAITS.load(Relaxed), 1);
    lock.execute_batch("COMMIT").unwrap();
    submit(&store, "go");
}
