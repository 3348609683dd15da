//! What things cost among many jobs.

use rusqlite::Connection;
use tokio_test::block_on;
use uuid::Uuid;

use super::tests::{file, new, open};
use crate::JobState;
use crate::owner::Owner;
use crate::store::Query;

/// A page of an owner with few jobs costs as little among many jobs of others, and what starts reads only what is open.
#[test]
fn what_is_asked_often_is_found_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let page = |state| super::store::paging(&Query { owner: Owner::ANONYMOUS, state, before: None, limit: 3 });
    for (sql, plan) in [
        (page(None), "SEARCH jobs USING INDEX jobs_by_owner (owner=? AND number<?)"),
        (
            page(Some(JobState::Done)),
            "SEARCH jobs USING INDEX jobs_by_owner_and_state (owner=? AND state=? AND number<?)",
        ),
        (super::db::RUNNING.to_owned(), "SEARCH jobs USING INDEX jobs_open (state=?)"),
        (super::index::QUEUED.to_owned(), "SEARCH jobs USING INDEX jobs_open (state=?)"),
        (super::db::USED.to_owned(), "SEARCH jobs USING INDEX jobs_by_key (key=?)"),
        (super::db::STATE.to_owned(), "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"),
    ] {
        let steps = store.writer.run(move |db| {
            let mut plan = db.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let unset = plan.parameter_count();
            let nulls = rusqlite::params_from_iter(vec![rusqlite::types::Null; unset]);
            plan.query_map(nulls, |row| row.get::<_, String>(3))?.collect::<rusqlite::Result<Vec<_>>>()
        });
        assert_eq!(block_on(steps).unwrap(), [plan]);
    }
}

/// How many pages 64 submissions with such keys change together, among 50,000 jobs with random ones.
fn pages(key: impl Fn() -> Uuid + Send + 'static) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    // The last to close a file leaves no log behind.
    Connection::open(file(&folder))
        .unwrap()
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50000)
             INSERT INTO jobs (number, id, owner, state, model, created_at, completed_at, key, digest)
             SELECT n, printf('%032x', n), zeroblob(16), 'done', 'm', n, 9e15, randomblob(16), zeroblob(32) FROM n",
        )
        .unwrap();
    let store = open(&folder);
    let submit = move |db: &mut super::db::Db| {
        (0..64).try_for_each(|_| db.submit(&new(Some(&key().to_string()), "go")).map(|taken| drop(taken.unwrap())))
    };
    block_on(store.writer.run(submit)).unwrap();
    let log = folder.path().join("jobs.db-wal");
    // A header, and a page with a header of its own for each that was changed.
    (std::fs::metadata(log).unwrap().len() - 32) / (4096 + 24)
}

#[test]
fn keys_in_the_order_of_time_change_few_pages_however_many_there_are() {
    let (random, in_order) = (pages(Uuid::new_v4), pages(Uuid::now_v7));
    assert!(in_order < 30 && random > 70, "{in_order} {random}");
}
