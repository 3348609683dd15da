//! The changes of other daemons.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{Schema, new_job, submit};
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::feed::CHANGES;
use crate::store::{NewJob, Store as _, StoreOptions};

const MINUTE: Duration = Duration::from_secs(60);

async fn two(schema: &Schema) -> (Postgres, Postgres) {
    let options = || StoreOptions::of_test(100_000);
    (schema.open_with(options()).await, schema.open_with(options()).await)
}

async fn session(schema: &Schema) -> tokio_postgres::Client {
    let url = schema.url.replacen("application_name=test_", "application_name=session_", 1);
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Adds queued jobs in one transaction.
fn add_jobs(schema: &Schema, count: u32) {
    schema.sql(&format!(
        "INSERT INTO owners (owner) VALUES ('\\x07') ON CONFLICT DO NOTHING;
         INSERT INTO jobs (id, owner, model) SELECT 'j' || n, '\\x07', 'm' FROM generate_series(1, {count}) AS n"
    ));
}

#[tokio::test]
async fn change_after_more_changes_than_a_page_is_told() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = two(&schema).await;
    add_jobs(&schema, 10_500);
    for _ in 0..2 {
        let mut queued = Box::pin(two.shared.options.notifications.work[0].notified());
        queued.as_mut().enable();
        let job_id = submit(&one, "go").await;
        let mut watch = two.shared.options.notifications.signals.watch(&job_id);
        one.cancel(Owner::ANONYMOUS, &job_id).await.unwrap();
        timeout(MINUTE, watch.changed()).await.unwrap();
    }
}

/// A stream is read, so that each change takes a statement to publish.
#[tokio::test]
async fn changes_are_told_although_the_connection_is_cut_while_they_are_published() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = two(&schema).await;
    let options = &two.shared.options;
    let mut stream = options.streams.open(Owner::ANONYMOUS, None, None).unwrap();
    let mut ids: HashSet<_> = join_all((0..400).map(|_| submit(&one, "go"))).await.into_iter().collect();
    let cutter = session(&schema).await;
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{}' AND query LIKE 'SELECT jobs.number, jobs.id%WHERE number%'",
        schema.url.rsplit_once("%3D").unwrap().1
    );
    schema.sql("UPDATE jobs SET state = 'failed', error = 'x', completed_at = clock_timestamp(), body = NULL");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if cutter.query_one(&cut, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            break;
        }
    }
    // The events of the submissions come too.
    let open = CancellationToken::new();
    while !ids.is_empty() {
        let event = timeout(MINUTE, stream.next(&open)).await.unwrap().unwrap();
        let event = String::from_utf8(event.to_vec()).unwrap();
        if event.contains("\"state\":\"failed\"") {
            ids.retain(|job_id| !event.contains(job_id.as_str()));
        }
    }
}

/// As after the restore of a dump into another server.
#[tokio::test]
async fn rows_of_transactions_that_have_not_begun_are_no_changes() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    add_jobs(&schema, 3);
    schema.sql("UPDATE jobs SET changed = changed + 1000000000 WHERE id = 'j2'");
    let session = session(&schema).await;
    let rows = session.query(CHANGES, &[&0_i64, &0_i64, &9_i64]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(5)).collect::<Vec<_>>(), ["j1", "j3"]);
}

#[tokio::test]
async fn deadline_stored_by_another_daemon_is_told() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = two(&schema).await;
    let told = two.shared.options.notifications.deadline.notified();
    let start_by = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    one.submit(NewJob { start_by: Some(start_by), ..new_job(None, "go") }).await.unwrap().unwrap();
    timeout(MINUTE, told).await.unwrap();
}
