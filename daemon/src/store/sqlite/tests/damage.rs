//! Rows that do not decode, and pages that SQLite cannot read.

use tokio_test::block_on;

use super::support::{
    done_with, execute_sql, new_job, open, open_with, options, path, submit, submit_with_webhook, take,
};
use crate::JobState;
use crate::owner::Owner;
use crate::store::sqlite::db::Db;
use crate::store::{Claim, NextJob, Store as _, Verdict, Wanted};

#[test]
fn damaged_job_fails_and_others_run() {
    for damage in ["x'7b'", "x'ff'", "x''", "NULL", "substr(body, 9)"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let bad = submit_with_webhook(&store, "bad");
        let good = submit(&store, "good");
        drop(store);
        execute_sql(&folder, &format!("UPDATE jobs SET body = {damage} WHERE number = 1"));

        let store = open(&folder);
        let next = block_on(store.take(Wanted::any())).unwrap();
        assert!(matches!(next, Some(NextJob::Damaged(job_id)) if job_id == bad), "{damage}");
        assert_eq!(take(&store).unwrap().job_id, good);
        assert!(take(&store).is_none());
        let status = block_on(store.status(Owner::ANONYMOUS, &bad)).unwrap().unwrap();
        assert_eq!(status.state, JobState::Failed);
        assert_eq!(status.error.as_deref(), Some("submission damaged in the store"));
        assert_eq!((status.attempt, status.started_at, status.completed_at.is_some()), (0, None, true));
        for state in [JobState::Queued, JobState::Failed] {
            let Claim::Now(delivery) = block_on(store.claim()).unwrap() else { panic!("no event") };
            assert_eq!((&delivery.job_id, &delivery.status.state), (&bad, &state));
            block_on(store.settle(&bad, Verdict::Delivered)).unwrap();
        }
        drop(store);
        assert_eq!(block_on(open(&folder).status(Owner::ANONYMOUS, &bad)).unwrap().unwrap().state, JobState::Failed);
    }
}

#[test]
fn damaged_events_are_given_up_and_others_sent() {
    for damage in ["webhook = 'no url'", "webhook = NULL", "traceparent = x'00'", "artifacts = '{'"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let (bad, good) = (submit_with_webhook(&store, "bad"), submit_with_webhook(&store, "good"));
        drop(store);
        execute_sql(&folder, &format!("UPDATE jobs SET {damage} WHERE number = 1"));

        let store = open(&folder);
        let Claim::Now(delivery) = block_on(store.claim()).unwrap() else { panic!("no event") };
        assert_eq!(delivery.job_id, good, "{damage}");
        assert!(matches!(block_on(store.claim()).unwrap(), Claim::Nothing));
        // The job itself runs.
        assert_eq!(take(&store).unwrap().job_id, bad);
    }
}

#[test]
fn job_damaged_while_running_is_not_retried() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let bad = submit(&store, "bad");
    take(&store).unwrap();
    let damage = |db: &mut Db| db.connection.execute_batch("UPDATE jobs SET body = x'7b'");
    block_on(store.writer.run(damage)).unwrap();
    assert!(block_on(store.restart(&bad, 1, "no")).unwrap().is_none());
    let status = block_on(store.status(Owner::ANONYMOUS, &bad)).unwrap().unwrap();
    assert_eq!((&status.state, status.attempt), (&JobState::Failed, 1));
}

/// Overwrites the overflow pages that contain only `x`, while no store has the file open.
fn corrupt(folder: &tempfile::TempDir) {
    execute_sql(folder, "PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = std::fs::read(path(folder)).unwrap();
    let mut pages = 0;
    // The first four bytes of an overflow page are the number of the next one.
    for page in bytes.chunks_mut(4096).filter(|page| page[4..].iter().all(|byte| *byte == b'x')) {
        page.fill(0xff);
        pages += 1;
    }
    assert!(pages > 10, "{pages}");
    std::fs::write(path(folder), bytes).unwrap();
}

/// What SQLite writes to a damaged file may destroy more of it.
#[test]
fn corrupt_page_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (damaged, good) = (submit(&store, &"x".repeat(200_000)), submit(&store, "good"));
    drop(store);
    corrupt(&folder);

    let before = std::fs::read(path(&folder)).unwrap();
    let options = options(100);
    let vital = options.vital.clone();
    let store = open_with(&folder, options);
    assert_eq!(vital.reason(), None);
    assert_eq!(block_on(store.take(Wanted::any())).unwrap_err().to_string(), "store file damaged");
    let reason = block_on(vital.failed());
    assert!(reason.starts_with("store file damaged: "), "{reason}");
    // Reads of intact pages go on, and nothing is written.
    assert_eq!(block_on(store.status(Owner::ANONYMOUS, &good)).unwrap().unwrap().state, JobState::Queued);
    assert_eq!(block_on(store.status(Owner::ANONYMOUS, &damaged)).unwrap().unwrap().state, JobState::Queued);
    assert_eq!(block_on(store.submit(new_job(None, "next"))).unwrap_err().to_string(), "store closed");
    drop(store);
    assert!(before == std::fs::read(path(&folder)).unwrap(), "the file has changed");
}

#[test]
fn corrupt_page_of_a_result_ends_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let job_id = submit(&store, "long");
    take(&store).unwrap();
    assert!(block_on(store.finish(&job_id, 1, done_with(&"x".repeat(200_000)))).unwrap());
    drop(store);
    corrupt(&folder);

    let options = options(100);
    let vital = options.vital.clone();
    let store = open_with(&folder, options);
    let error = block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap_err();
    assert_eq!(error.to_string(), "store file damaged");
    assert!(block_on(vital.failed()).starts_with("store file damaged: "));
}
