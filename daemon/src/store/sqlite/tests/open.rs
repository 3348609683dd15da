//! Opening a file: foreign files, restarts, expired jobs.

use std::path::Path;

use rusqlite::Connection;
use tokio_test::block_on;

use super::support::{done, execute_sql, new_job, open, options, path, submit, take};
use crate::JobState;
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::sqlite::db::Db;
use crate::store::{Cost, NewJob, Sqlite, Store as _};

/// Takes away what versions 4 and 5 have added.
const WITHOUT_LIMITS: &str =
    "DROP TABLE queue; ALTER TABLE jobs DROP COLUMN priority; ALTER TABLE jobs DROP COLUMN start_by;";

fn open_error(folder: &tempfile::TempDir) -> String {
    open_error_at(&path(folder))
}

/// The message of the daemon's error for this file, which the message calls `PATH`.
fn open_error_at(path: &Path) -> String {
    let error = Sqlite::open(path, options(100)).unwrap_err();
    let error = crate::Error::store(Path::new("PATH"), error);
    assert!(error.is_store() && !error.is_invalid_config() && !error.is_listen(), "{error}");
    failure(&error)
}

#[test]
fn foreign_file_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(path(&folder), "not a database, but long enough to be taken for one by its length".repeat(100))
        .unwrap();
    let damaged = open_error(&folder);
    assert!(damaged.starts_with("cannot open store PATH: store file damaged: "), "{damaged}");
    assert!(std::fs::read_to_string(path(&folder)).unwrap().starts_with("not a database"));

    let folder = tempfile::tempdir().unwrap();
    Connection::open(path(&folder)).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(open_error(&folder), "store PATH is a database of another program");

    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    Connection::open(path(&folder)).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    assert_eq!(open_error(&folder), "store PATH has format version 7, which is newer than 5");

    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    assert_eq!(open_error(&folder), "store PATH is in use by another daemon");
    drop(first);
    open(&folder);
    let nowhere = open_error_at(&folder.path().join("no/such/jobs.db"));
    assert!(nowhere.starts_with("cannot lock store PATH: "), "{nowhere}");
}

#[test]
fn files_of_older_versions_are_migrated() {
    for older in [
        "PRAGMA user_version = 3",
        "ALTER TABLE jobs DROP COLUMN spent; PRAGMA user_version = 2",
        "ALTER TABLE jobs DROP COLUMN spent; ALTER TABLE jobs DROP COLUMN event_stream; PRAGMA user_version = 1",
    ] {
        let older = format!("{WITHOUT_LIMITS} {older}");
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let (running, queued) = (submit(&store, "running"), submit(&store, "queued"));
        take(&store).unwrap();
        drop(store);
        Connection::open(path(&folder)).unwrap().execute_batch(&older).unwrap();
        for _ in 0..2 {
            let store = open(&folder);
            assert!(block_on(store.status(Owner::ANONYMOUS, &queued)).unwrap().is_some());
        }
        let store = open(&folder);
        let taken = take(&store).unwrap();
        assert_eq!((&taken.job_id, taken.attempt, taken.spent), (&running, 2, 2));
        assert_eq!(take(&store).unwrap().job_id, queued);
    }
}

#[test]
fn queue_keeps_its_id() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let id = open(&folder).queue_id();
    assert_eq!((id, id == open(&other).queue_id()), (open(&folder).queue_id(), false));
    execute_sql(&folder, "DROP TABLE queue; PRAGMA user_version = 4");
    let migrated = open(&folder).queue_id();
    assert_eq!((migrated, migrated == id), (open(&folder).queue_id(), false));
}

/// Version 3 had the deadline in the submission only.
#[test]
fn deadline_of_older_version_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let body = |deadline: &str| format!(r#"{{"model":"m","deadline":{deadline}}}"#);
    let submit = |body: String| block_on(store.submit(NewJob::of_test(&body))).unwrap().unwrap().job_id;
    let ids = ["\"1970-01-01T01:00:00.25+01:00\"", "null", "\"9000-01-01T00:00:00Z\"", "\"1970-01-01t00:00:00-23:59\""];
    let ids = ids.map(body).map(submit);
    drop(store);
    execute_sql(&folder, &format!("{WITHOUT_LIMITS} PRAGMA user_version = 3"));
    let store = open(&folder);
    let overdue = block_on(store.fail_overdue()).unwrap();
    assert_eq!(
        (overdue.jobs, overdue.next),
        (vec![ids[0].clone(), ids[3].clone()], Some("9000-01-01T00:00:00Z".parse().unwrap()))
    );
    let taken = take(&store).unwrap();
    assert_eq!((&taken.job_id, taken.start_by), (&ids[1], None));
}

#[test]
fn attempts_that_a_stop_interrupts_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let job_id = submit(&open(&folder), "go");
    for attempt in 1..=5 {
        let store = open(&folder);
        let taken = take(&store).unwrap();
        assert_eq!((&taken.job_id, taken.attempt, taken.spent), (&job_id, attempt, 1));
        block_on(store.interrupt()).unwrap();
        assert_eq!(block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap().state, JobState::Queued);
    }
}

#[test]
fn requeued_attempt_counts_at_its_cost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let job_id = submit(&store, "go");
    for (attempt, spent, cost) in [(1, 1, Cost::Free), (2, 1, Cost::Counts), (3, 2, Cost::Free), (4, 2, Cost::Counts)] {
        let taken = take(&store).unwrap();
        assert_eq!((taken.attempt, taken.spent), (attempt, spent));
        // Of an earlier attempt.
        block_on(store.requeue(&job_id, attempt - 1, cost, "no")).unwrap();
        assert!(take(&store).is_none());
        block_on(store.requeue(&job_id, attempt, cost, "no")).unwrap();
    }
}

#[test]
fn running_job_is_requeued_until_attempts_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let job_id = submit(&open(&folder), "go");
    for attempt in 1..=3 {
        let store = open(&folder);
        assert_eq!(block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap().state, JobState::Queued);
        let taken = take(&store).unwrap();
        assert_eq!((taken.job_id, taken.attempt), (job_id.clone(), attempt));
    }
    let store = open(&folder);
    let status = block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap();
    assert_eq!(status.state, JobState::Failed);
    assert_eq!(status.error.as_deref(), Some("daemon stopped during attempt 3, the last one"));
    assert!(status.completed_at.is_some() && take(&store).is_none());
}

#[test]
fn expired_jobs_are_deleted_with_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let first = block_on(store.submit(new_job(Some("k"), "go"))).unwrap().unwrap().job_id;
    let taken = take(&store).unwrap();
    assert!(block_on(store.finish(&first, taken.attempt, done())).unwrap());
    let running = submit(&store, "stays");
    take(&store).unwrap();
    let sweep = || block_on(store.writer.run(Db::sweep)).unwrap();
    assert_eq!(sweep(), 0);
    block_on(
        store.writer.run(|db| db.connection.execute_batch("UPDATE jobs SET completed_at = completed_at - 86400000001")),
    )
    .unwrap();
    assert_eq!((sweep(), sweep()), (1, 0));
    assert!(block_on(store.status(Owner::ANONYMOUS, &first)).unwrap().is_none());
    assert!(block_on(store.status(Owner::ANONYMOUS, &running)).unwrap().is_some());
    let again = block_on(store.submit(new_job(Some("k"), "other"))).unwrap().unwrap();
    assert!(!again.replayed);
}

/// Whoever copies the file of a daemon that was stopped copies all of it.
#[test]
fn closed_store_leaves_all_data_in_the_file_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let job_id = submit(&store, "go");
    // The reader has a connection of its own.
    block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap();
    drop(store);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().ends_with("-wal")), "{files:?}");
    let copied = tempfile::tempdir().unwrap();
    std::fs::copy(path(&folder), path(&copied)).unwrap();
    assert_eq!(take(&open(&copied)).unwrap().job_id, job_id);
}
