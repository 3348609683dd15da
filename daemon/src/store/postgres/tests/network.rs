//! Requests that reach the database late, and responses that do not reach the daemon.

use std::time::Duration;

use serde_json::value::to_raw_value;
use tokio::time::timeout;

use super::support::{DatabaseProxy, Schema, done, new_job, open, state, submit, take};
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::maintenance::{end_leases, pass};
use crate::store::{Outcome, Output, Store as _, StoreError, StoreOptions, Wanted};

/// A daemon behind a proxy.
async fn behind_proxy(schema: &Schema) -> (DatabaseProxy, Postgres) {
    let proxy = DatabaseProxy::start(&schema.url);
    let daemon = open(&proxy.url(&schema.url), StoreOptions::of_test(100)).await.unwrap();
    (proxy, daemon)
}

async fn bounded<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

/// Waits until the database has the answer.
async fn until(schema: &Schema, sql: &str, answer: &str) {
    while schema.sql(sql) != answer {
        tokio::task::yield_now().await;
    }
}

/// Makes a change whose response is lost once `sql` returns `changed`. A lock holds the change up until no response is forwarded.
async fn lose_response<T>(
    schema: &Schema,
    proxy: &DatabaseProxy,
    change: impl Future<Output = Result<T, StoreError>>,
    (sql, changed): (&str, &str),
) -> Result<T, StoreError> {
    let lock = schema.lock_jobs().await;
    let lose = async {
        schema.has_blocked_statement().await;
        proxy.hold_responses();
        drop(lock);
        until(schema, sql, changed).await;
        proxy.close_connections();
        proxy.restore();
    };
    bounded(async { tokio::join!(change, lose) }).await.0
}

const LOST: &str = "database connection failed";

#[tokio::test]
async fn outcome_that_arrives_after_the_lease_changes_nothing() {
    let Some(schema) = Schema::new() else { return };
    let (proxy, late) = behind_proxy(&schema).await;
    let other = schema.open().await;
    let job_id = submit(&late, "go").await;
    assert_eq!(take(&late).await.unwrap().attempt, 1);
    proxy.cut_off();
    let arrives = async {
        schema.sql(&format!("UPDATE boxes SET leased_until = '-infinity' WHERE id = '{}'", late.shared.lease.id()));
        end_leases(&other.shared).await.unwrap();
        assert_eq!(take(&other).await.unwrap().attempt, 2);
        let output = Output { result: to_raw_value("of the second attempt").unwrap(), artifacts: Vec::new() };
        assert!(other.finish(&job_id, 2, Outcome::Done(output)).await.unwrap());
        proxy.restore();
    };
    let (finished, ()) = bounded(async { tokio::join!(late.finish(&job_id, 1, done()), arrives) }).await;
    assert!(!finished.unwrap());
    let status = late.status(Owner::ANONYMOUS, &job_id).await.unwrap().unwrap();
    assert_eq!((status.attempt, status.result.as_ref().unwrap().get()), (2, r#""of the second attempt""#));
}

#[tokio::test]
async fn submission_whose_response_is_lost_is_found() {
    let Some(schema) = Schema::new() else { return };
    let (proxy, daemon) = behind_proxy(&schema).await;
    // The call itself sends it.
    let submission = async { daemon.submit(new_job(Some("key"), "go")).await };
    let lost = lose_response(&schema, &proxy, submission, ("SELECT count(*) FROM jobs", "1")).await;
    let job_id = lost.unwrap().unwrap().job_id;
    let again = daemon.submit(new_job(Some("key"), "go")).await.unwrap().unwrap();
    assert!(again.replayed && again.job_id == job_id);
    assert_eq!(take(&daemon).await.unwrap().job_id, job_id);
    assert_eq!(schema.sql("SELECT count(*), (SELECT queued FROM owners) FROM jobs"), "1|0");
}

#[tokio::test]
async fn job_whose_start_has_no_response_is_given_back() {
    let Some(schema) = Schema::new() else { return };
    let (proxy, daemon) = behind_proxy(&schema).await;
    let job_id = submit(&daemon, "go").await;
    let lost = lose_response(&schema, &proxy, daemon.take(Wanted::any()), ("SELECT state FROM jobs", "running")).await;
    assert_eq!(lost.unwrap_err().to_string(), LOST);
    pass(&daemon.shared).await.unwrap();
    let again = take(&daemon).await.unwrap();
    assert_eq!((again.job_id, again.attempt, again.spent), (job_id, 2, 1));
}

#[tokio::test]
async fn outcome_whose_response_is_lost_is_stored_once() {
    let Some(schema) = Schema::new() else { return };
    let (proxy, daemon) = behind_proxy(&schema).await;
    let job_id = submit(&daemon, "go").await;
    take(&daemon).await.unwrap();
    let finish = daemon.finish(&job_id, 1, done());
    let lost = lose_response(&schema, &proxy, finish, ("SELECT state FROM jobs", "done")).await;
    assert_eq!(lost.unwrap_err().to_string(), LOST);
    assert!(!daemon.finish(&job_id, 1, done()).await.unwrap(), "it is stored already");
    assert_eq!(state(&daemon, &job_id).await, "done 1 ");
}
