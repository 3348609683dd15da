//! Costs that must not grow with the number of jobs.

use rusqlite::{Connection, StatementStatus};
use tokio_test::block_on;
use uuid::Uuid;

use super::support::{new_job, open, path, submit, submit_with_webhook};
use crate::JobState;
use crate::owner::Owner;
use crate::store::Query;
use crate::store::sqlite::{db, index, store};

/// A page of one owner costs the same however many jobs others have, and a start reads only jobs that have not ended.
#[test]
fn frequent_queries_use_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&folder);
    let page =
        |state| store::page_sql(&Query { owner: Owner::ANONYMOUS, state, before: None, limit: 3, results: true });
    for (sql, plan) in [
        (page(None), "SEARCH jobs USING INDEX jobs_by_owner (owner=? AND number<?)"),
        (
            page(Some(JobState::Done)),
            "SEARCH jobs USING INDEX jobs_by_owner_and_state (owner=? AND state=? AND number<?)",
        ),
        (index::open_jobs_sql("number, id, model, owner"), "SEARCH jobs USING INDEX jobs_open (state=?)"),
        (db::JOB_BY_KEY.to_owned(), "SEARCH jobs USING INDEX jobs_by_key (key=?)"),
        (db::JOB_STATE.to_owned(), "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"),
    ] {
        let steps = opened.writer.run(move |db| {
            let mut plan = db.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let unset = plan.parameter_count();
            let nulls = rusqlite::params_from_iter(vec![rusqlite::types::Null; unset]);
            plan.query_map(nulls, |row| row.get::<_, String>(3))?.collect::<rusqlite::Result<Vec<_>>>()
        });
        assert_eq!(block_on(steps).unwrap(), [plan]);
    }
}

/// How many pages 64 submissions with keys from `key` change in one group, in a file of 50,000 jobs with random keys.
fn pages(key: impl Fn() -> Uuid + Send + 'static) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    // SQLite deletes the WAL when the last connection closes.
    Connection::open(path(&folder))
        .unwrap()
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50000)
             INSERT INTO jobs (number, id, owner, state, model, created_at, completed_at, key, digest)
             SELECT n, printf('%032x', n), zeroblob(16), 'done', 'm', n, 9e15, randomblob(16), zeroblob(32) FROM n",
        )
        .unwrap();
    let opened = open(&folder);
    let submit = move |db: &mut db::Db| {
        (0..64).try_for_each(|_| db.submit(&new_job(Some(&key().to_string()), "go")).map(|taken| drop(taken.unwrap())))
    };
    block_on(opened.writer.run(submit)).unwrap();
    let log = folder.path().join("jobs.db-wal");
    // The WAL has a header, and a frame for each changed page.
    (std::fs::metadata(log).unwrap().len() - 32) / (4096 + 24)
}

#[test]
fn time_ordered_keys_change_few_pages() {
    let (random, in_order) = (pages(Uuid::new_v4), pages(Uuid::now_v7));
    assert!(in_order < 30 && random > 70, "{in_order} {random}");
}

#[test]
fn submission_without_webhook_runs_no_statement_for_events() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&folder);
    let runs = || {
        let runs = |db: &mut db::Db| {
            let statement = db.connection.prepare_cached(db::RECORD_EVENT)?;
            Ok(statement.get_status(StatementStatus::Run))
        };
        block_on(opened.writer.run(runs)).unwrap()
    };
    submit(&opened, "go");
    assert_eq!(runs(), 0);
    submit_with_webhook(&opened, "go");
    assert_eq!(runs(), 1);
}
