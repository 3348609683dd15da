//! The changes of other daemons.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::support::{PostgresServer, Schema, done, literal, new_job, open, submit, take};
use crate::JobId;
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::feed::{CHANGES, SNAPSHOT};
use crate::store::postgres::snapshot::Snapshot;
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
    assert_eq!(changes(&session, &"0:0:".parse().unwrap()).await, ["j1", "j3"]);
}

/// The jobs of the changes that a snapshot does not show.
async fn changes(session: &tokio_postgres::Client, since: &Snapshot) -> Vec<String> {
    let (late, no_page) = (since.next - 1, None::<&str>);
    let rows = session
        .query(CHANGES, &[&i64::MIN, &0_i64, &9_i64, &since.in_progress, &late, &i64::MAX, &no_page])
        .await
        .unwrap();
    rows.iter().filter_map(|row| row.get(4)).collect()
}

#[tokio::test]
async fn change_is_read_once_beside_an_open_transaction() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    let (reader, other) = (session(&schema).await, session(&schema).await);
    let snapshot = async || reader.query_one(SNAPSHOT, &[]).await.unwrap().get::<_, &str>(0).parse().unwrap();
    other.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    add_jobs(&schema, 2);
    let before: Snapshot = snapshot().await;
    assert!(!before.in_progress.is_empty());
    assert_eq!(changes(&reader, &before).await, [""; 0]);
    add_job(&other, "late").await;
    add_job(&reader, "new").await;
    assert_eq!(changes(&reader, &before).await, ["new"]);
    let before = snapshot().await;
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(changes(&reader, &before).await, ["late"]);
    assert_eq!(changes(&reader, &snapshot().await).await, [""; 0]);
}

#[tokio::test]
async fn read_costs_the_same_however_many_changes_are_later_than_an_open_transaction() {
    let Some(schema) = Schema::new() else { return };
    drop(schema.open().await);
    let (reader, other) = (session(&schema).await, session(&schema).await);
    other.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let cost = async || {
        let row = reader.query_one(SNAPSHOT, &[]).await.unwrap();
        let Snapshot { next, in_progress, .. } = row.get::<_, &str>(0).parse().unwrap();
        assert!(!in_progress.is_empty());
        let (in_progress, late) = (
            format!("'{{{}}}'::bigint[]", in_progress.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
            (next - 1).to_string(),
        );
        let max = i64::MAX.to_string();
        let values = ["-1::bigint", "0::bigint", "9", &in_progress, &late, &max, "NULL"];
        let sql = (1..).zip(values).fold(CHANGES.to_owned(), |sql, (n, value)| sql.replace(&format!("${n}"), value));
        schema.cost(&sql).await.1
    };
    add_jobs(&schema, 3);
    let before = cost().await;
    schema.sql("DELETE FROM jobs");
    add_jobs(&schema, 3_000);
    let after = cost().await;
    // Rows that were deleted are in the indexes for a while.
    assert!(after <= before + 5, "{before}, {after} after it");
}

/// It is not queued, so that it locks no token.
async fn add_job(session: &tokio_postgres::Client, id: &str) {
    let insert = format!("INSERT INTO jobs (id, owner, model, state) VALUES ('{id}', '\\x08', 'm', 'running')");
    session.batch_execute(&insert).await.unwrap();
}

/// Later transactions of another program, whose commits do not wait, do not hide it.
#[tokio::test(flavor = "multi_thread")]
async fn end_whose_commit_waits_for_a_standby_is_told() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let (mine, others) = (StoreOptions::of_test(100), StoreOptions::of_test(100));
    let daemon = open(&url, mine.clone()).await.unwrap();
    let _other = open(&url, others.clone()).await.unwrap();
    let job_id = submit(&daemon, "go").await;
    take(&daemon).await.unwrap();
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    server.sql("SELECT pg_reload_conf()");
    let finish = async {
        while daemon.finish(&job_id, 1, done()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    let test = async {
        while server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "0" {
            tokio::task::yield_now().await;
        }
        for id in ["a", "b"] {
            let mut told =
                [&mine, &others].map(|options| options.notifications.signals.watch(&JobId::new(id).unwrap()));
            let insert =
                format!("INSERT INTO jobs (id, owner, model) VALUES ('{id}', {}, 'm')", literal(Owner::ANONYMOUS));
            server.sql_in(&url, &format!("SET synchronous_commit = off; {insert}"));
            for told in &mut told {
                told.changed().await;
            }
        }
        let mut told = [&mine, &others].map(|options| options.notifications.signals.watch(&job_id));
        server.sql("ALTER SYSTEM RESET synchronous_standby_names");
        server.sql("SELECT pg_reload_conf()");
        for told in &mut told {
            told.changed().await;
        }
    };
    timeout(MINUTE, async { tokio::join!(finish, test) }).await.unwrap();
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
