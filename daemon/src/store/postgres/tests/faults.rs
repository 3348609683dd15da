//! A database that refuses, is away, or answers no more.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::support::{PostgresServer, Schema, done, new_job, new_job_of, open, server, state, submit, take};
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::{NewJob, Store as _, StoreOptions};

async fn open_error(url: &str) -> String {
    let error = open(url, StoreOptions::of_test(9)).await.unwrap_err();
    let error = crate::Error::database(&url.parse().unwrap(), error);
    assert!(error.is_store() && !error.is_invalid_config(), "{error}");
    failure(&error)
}

#[tokio::test]
async fn wrong_password_is_refused_and_not_shown() {
    let Some(server) = server() else { return };
    server.sql("CREATE ROLE strict LOGIN PASSWORD 'right' IN ROLE pg_read_all_data");
    let url = server.schema().replace("postgres@", "strict:wrong@");
    let error = open_error(&url).await;
    assert!(error.starts_with("cannot connect to store postgres://strict@"), "{error}");
    assert!(error.contains("password authentication failed") && !error.contains("wrong"), "{error}");
    // The user may not create tables in a schema of another one.
    let error = open_error(&url.replace("wrong", "right")).await;
    assert!(error.starts_with("cannot prepare the tables of store postgres://strict@"), "{error}");
    assert!(error.contains("permission denied"), "{error}");
}

#[tokio::test]
async fn server_that_is_not_there_is_named() {
    let error = open_error("postgres://someone@%2Fnowhere/jobs").await;
    assert!(error.starts_with("cannot connect to store postgres://someone@/nowhere:5432/jobs: "), "{error}");
}

/// It accepts connections and never responds. The time that passes is that of the paused clock.
#[tokio::test(start_paused = true)]
async fn server_that_never_responds_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let url = format!("postgres://someone@{address}/jobs");
    let error = tokio::time::timeout(Duration::from_secs(60), open_error(&url)).await.unwrap();
    assert_eq!(error, format!("cannot connect to store {url}: database does not answer"));
}

/// The lock makes the transaction wait in its middle.
#[tokio::test(flavor = "multi_thread")]
async fn connection_cut_in_the_middle_of_a_transaction_changes_nothing() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let owner = new_job(None, "").owner;
    let first = submit(&daemon, "first").await;
    let lock = schema.lock_jobs().await;
    let submission = daemon.submit(new_job(Some("key"), "go"));
    let cut = async {
        schema.has_blocked_statement().await;
        schema.server.cut(&schema.url);
    };
    let both = async { tokio::join!(submission, cut) };
    let (submitted, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(submitted.unwrap_err().to_string(), "database not available");
    drop(lock);
    let again = daemon.submit(new_job(Some("key"), "go")).await.unwrap().unwrap();
    assert!(!again.replayed);
    assert_eq!(schema.sql("SELECT count(*) FROM jobs"), "2");
    assert_eq!(schema.sql("SELECT queued FROM owners"), "2");
    assert!(daemon.status(owner, &first).await.unwrap().is_some());
}

#[tokio::test]
async fn calls_fail_while_the_database_is_away_and_succeed_after_it() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let daemon = open(&url, StoreOptions::of_test(9)).await.unwrap();
    let job_id = submit(&daemon, "go").await;
    take(&daemon).await.unwrap();
    server.stop();
    let failed = [
        daemon.submit(new_job(None, "no")).await.map(drop).unwrap_err(),
        daemon.check().await.unwrap_err(),
        daemon.status(Owner::ANONYMOUS, &job_id).await.map(drop).unwrap_err(),
        daemon.finish(&job_id, 1, done()).await.map(drop).unwrap_err(),
        daemon.claim().await.map(drop).unwrap_err(),
    ];
    for error in failed {
        let error = error.to_string();
        assert!(["database not available", "database connection failed"].contains(&&*error), "{error}");
    }
    server.up();
    let again = async {
        while daemon.check().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    assert!(daemon.finish(&job_id, 1, done()).await.unwrap());
    assert_eq!(state(&daemon, &job_id).await, "done 1 ");
    submit(&daemon, "more").await;
}

#[tokio::test]
async fn submission_that_the_database_refuses_fails_alone() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let refused = daemon.submit(new_job_of("a\0b", None, "no"));
    let (one, refused, other) =
        tokio::join!(daemon.submit(new_job(None, "go")), refused, daemon.submit(new_job(None, "go")));
    assert_eq!(refused.unwrap_err().to_string(), "database failure");
    assert!(one.unwrap().is_ok() && other.unwrap().is_ok());
}

#[tokio::test]
async fn job_whose_row_does_not_decode_fails_alone() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let damaged = submit(&daemon, "one").await;
    let other = submit(&daemon, "two").await;
    schema.sql("UPDATE jobs SET body = 'no' WHERE number = (SELECT min(number) FROM jobs)");
    let Some(crate::store::NextJob::Damaged(job_id)) = daemon.take(crate::store::Wanted::any()).await.unwrap() else {
        panic!("not damaged")
    };
    assert_eq!(job_id, damaged);
    assert_eq!(state(&daemon, &damaged).await, "failed 1 submission damaged in the store");
    assert_eq!(take(&daemon).await.unwrap().job_id, other);
}

/// The commits wait for a standby that is away, and the connection is cut meanwhile: the commit has happened.
#[tokio::test(flavor = "multi_thread")]
async fn commit_whose_answer_is_lost_is_found() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let daemon = open(&url, StoreOptions::of_test(100)).await.unwrap();
    submit(&daemon, "first").await;
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    server.sql("SELECT pg_reload_conf()");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let submitted = async {
        let mut submission = daemon.submit(new_job(None, "go"));
        // The server applies the setting some time after the reload.
        while server.sql(waiting) == "0" {
            if let Some(submitted) = (&mut submission).now_or_never() {
                submitted.unwrap().unwrap();
                submission = daemon.submit(new_job(None, "go"));
            }
            tokio::task::yield_now().await;
        }
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        submission.await
    };
    let submitted = tokio::time::timeout(Duration::from_secs(60), submitted).await.unwrap();
    let job_id = submitted.unwrap().unwrap().job_id;
    server.sql("ALTER SYSTEM RESET synchronous_standby_names");
    server.sql("SELECT pg_reload_conf()");
    assert_eq!(state(&daemon, &job_id).await, "queued 0 ");
}

/// Another session has locked the row of one token.
#[tokio::test(flavor = "multi_thread")]
async fn submission_of_a_locked_token_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    submit(&daemon, "first").await;
    let (lock, connection) =
        tokio_postgres::connect(&schema.url.replace("test_", "lock_"), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let name = schema.url.rsplit_once("%3D").unwrap().1;
    lock.batch_execute(&format!("BEGIN; SELECT FROM {name}.owners FOR UPDATE")).await.unwrap();
    let other = || NewJob { owner: Owner::from_token(b"other"), ..new_job(None, "go") };
    let mut locked: FuturesUnordered<_> = (0..20).map(|_| daemon.submit(new_job(None, "go"))).collect();
    let test = async {
        for _ in 0..20 {
            tokio::select! {
                submitted = daemon.submit(other()) => drop(submitted.unwrap().unwrap()),
                ended = locked.next() => panic!("the token is locked: {ended:?}"),
            }
            locked.push(daemon.submit(new_job(None, "go")));
        }
        lock.batch_execute("ROLLBACK").await.unwrap();
        while let Some(submitted) = locked.next().await {
            submitted.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), test).await.unwrap();
    connection.abort();
}

#[tokio::test]
async fn deadline_before_the_first_year_is_one_that_has_passed() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let start_by = Some("-009000-01-01T00:00:00Z".parse().unwrap());
    let job_id = daemon.submit(NewJob { start_by, ..new_job(None, "go") }).await.unwrap().unwrap().job_id;
    assert_eq!(daemon.fail_overdue().await.unwrap().jobs, [job_id]);
}
