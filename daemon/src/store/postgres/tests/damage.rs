//! Rows that were changed by hand.

use tokio_postgres::error::SqlState;

use super::counts::WRONG;
use super::support::{Schema, new_job, state, submit, take};
use crate::owner::Owner;
use crate::store::postgres::maintenance::{pass, sweep_some};
use crate::store::{Query, Store as _, StoreOptions, SubmitError, Wanted};

#[tokio::test]
async fn rows_without_id_or_destination_are_refused() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    submit(&daemon, "go").await;
    let session = schema.session().await;
    for change in ["id = ''", "webhook = 'http://h/'"] {
        let error = session.batch_execute(&format!("UPDATE jobs SET {change}")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION), "{change}");
    }
}

#[tokio::test]
async fn job_whose_id_does_not_decode_fails_alone() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    submit(&daemon, "one").await;
    let other = submit(&daemon, "two").await;
    schema.sql("UPDATE jobs SET id = 'a/b' WHERE number = (SELECT min(number) FROM jobs)");
    let query = Query { owner: Owner::ANONYMOUS, state: None, before: None, limit: 9, results: true };
    assert_eq!(daemon.list(query).await.unwrap().jobs.len(), 1);
    assert_eq!(daemon.take(Wanted::any()).await.unwrap_err().to_string(), "row damaged in the store");
    assert_eq!(schema.sql("SELECT state, error FROM jobs WHERE id = 'a/b'"), "failed|submission damaged in the store");
    assert_eq!(take(&daemon).await.unwrap().job_id, other);
    schema.sql("UPDATE jobs SET state = 'running', box = (SELECT id FROM boxes) WHERE id = 'a/b'");
    pass(&daemon.shared).await.unwrap();
    assert_eq!(state(&daemon, &other).await, "running 1 ");
}

#[tokio::test]
async fn overdue_job_whose_id_does_not_decode_hides_no_other() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    schema.insert(Owner::ANONYMOUS, 2, ", start_by", ", clock_timestamp() - interval '1 second'");
    schema.sql("UPDATE jobs SET id = 'a/b' WHERE number = (SELECT min(number) FROM jobs)");
    let overdue = daemon.fail_overdue().await.unwrap();
    assert_eq!((overdue.jobs.len(), overdue.next), (1, None));
}

#[tokio::test]
async fn truncated_queue_is_empty() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(2)).await;
    for _ in 0..2 {
        submit(&daemon, "go").await;
    }
    assert_eq!(daemon.submit(new_job(None, "go")).await.unwrap().unwrap_err(), SubmitError::Full);
    schema.sql("TRUNCATE jobs CASCADE");
    let job_id = submit(&daemon, "go").await;
    assert_eq!((schema.sql("SELECT sum(queued) FROM owners").as_str(), schema.sql(WRONG).as_str()), ("1", "0"));
    assert_eq!(take(&daemon).await.unwrap().job_id, job_id);
}

#[tokio::test]
async fn pass_deletes_a_limited_number_of_jobs() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    // The maintenance of the daemon waits here.
    let _taking = daemon.shared.taking.write().await;
    schema.insert(Owner::ANONYMOUS, 10_200, ", state, completed_at", ", 'done', clock_timestamp() - interval '2 days'");
    for left in ["200", "0"] {
        sweep_some(&daemon.shared).await.unwrap();
        assert_eq!(schema.sql("SELECT count(*) FROM jobs"), left);
    }
}
