//! How many jobs are queued, and statements that change many of them.

use jiff::Timestamp;

use super::support::{Schema, literal};
use crate::owner::Owner;
use crate::store::{Store as _, StoreOptions};

const OVERDUE: (&str, &str) = (", start_by", ", clock_timestamp() - interval '1 second'");

/// How many rows of `waiting` are missing, or have another turn than their token, or a token without jobs.
pub(super) const WRONG: &str =
    "SELECT (SELECT count(*) FROM jobs JOIN owners USING (owner) LEFT JOIN waiting USING (owner, turn, model)
        WHERE state = 'queued' AND waiting IS NULL)
    + (SELECT count(*) FROM waiting JOIN owners USING (owner) WHERE waiting.turn <> owners.turn OR queued = 0)";

fn tokens() -> [Owner; 2] {
    [Owner::from_bytes([1; 16]), Owner::from_bytes([2; 16])]
}

#[tokio::test]
async fn overdue_jobs_fail_in_portions() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    for owner in tokens() {
        schema.insert(owner, 600, OVERDUE.0, OVERDUE.1);
    }
    for (failed, left) in [(500, "700"), (500, "200")] {
        let overdue = daemon.fail_overdue().await.unwrap();
        assert_eq!(overdue.jobs.len(), failed);
        assert!(overdue.next.unwrap() < Timestamp::now(), "the next portion is due now");
        assert_eq!(schema.sql("SELECT sum(queued) FROM owners"), left);
    }
    let overdue = daemon.fail_overdue().await.unwrap();
    assert_eq!((overdue.jobs.len(), overdue.next), (200, None));
    assert_eq!(schema.sql("SELECT sum(queued) FROM owners"), "0");
}

#[tokio::test]
async fn overdue_jobs_of_a_locked_token_delay_no_others() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    let [locked, other] = tokens();
    schema.insert(locked, 600, OVERDUE.0, OVERDUE.1);
    schema.insert(other, 2, OVERDUE.0, OVERDUE.1);
    let lock = schema.lock(locked).await;
    assert_eq!(daemon.fail_overdue().await.unwrap().jobs.len(), 2);
    let overdue = daemon.fail_overdue().await.unwrap();
    assert!(overdue.jobs.is_empty() && overdue.next.unwrap() > Timestamp::now(), "{overdue:?}");
    lock.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(daemon.fail_overdue().await.unwrap().jobs.len(), 500);
}

/// Otherwise the versions of the row make a statement quadratic.
#[tokio::test]
async fn statement_counts_the_queue_of_a_token_once() {
    let Some(schema) = Schema::new() else { return };
    let _daemon = schema.open().await;
    for owner in tokens() {
        schema.insert(owner, 50, "", "");
    }
    let updates = |change: &str| {
        schema.sql(&format!(
            "BEGIN; {change}; SELECT n_tup_upd FROM pg_stat_xact_user_tables
                WHERE relname = 'owners' AND schemaname = current_schema(); COMMIT"
        ))
    };
    let queued = || schema.sql("SELECT string_agg(queued::text, ' ' ORDER BY owner) FROM owners");
    for (change, left) in [
        ("UPDATE jobs SET state = 'running' WHERE number % 5 = 0", "40 40"),
        ("UPDATE jobs SET state = 'queued' WHERE number % 10 = 0", "45 45"),
        ("DELETE FROM jobs WHERE number > 80", "45 27"),
        ("DELETE FROM jobs", "0 0"),
    ] {
        let rows = if left == "45 27" { "1" } else { "2" };
        assert_eq!((updates(change).as_str(), queued().as_str()), (rows, left), "{change}");
        assert_eq!(schema.sql(WRONG), "0", "{change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statement_locks_its_tokens_in_order() {
    let Some(schema) = Schema::new() else { return };
    let _daemon = schema.open().await;
    let [first, second] = tokens();
    // The rows of the second one are read first.
    schema.insert(second, 1, "", "");
    schema.insert(first, 1, "", "");
    let (lock, deleting) = (schema.lock(first).await, schema.session().await);
    let delete = tokio::spawn(async move { deleting.batch_execute("DELETE FROM jobs").await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query = 'DELETE FROM jobs' AND wait_event_type = 'Lock'";
    let waiting = async {
        while schema.sql(waits) == "0" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.unwrap();
    schema.sql(&format!("SELECT FROM owners WHERE owner = {} FOR UPDATE NOWAIT", literal(second)));
    lock.batch_execute("ROLLBACK").await.unwrap();
    delete.await.unwrap().unwrap();
    assert_eq!(schema.sql("SELECT sum(queued) FROM owners"), "0");
}
