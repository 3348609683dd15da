//! The connections of a daemon, some of which wait for locks.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::support::{Schema, done, submit, take};
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::connection::query_opt;
use crate::store::postgres::lease::Renewal;
use crate::store::{NewJob, Store as _, StoreOptions};

/// Calls of another token, while as many statements of others wait for locks as may.
async fn other_token_is_served(schema: &Schema, daemon: &Postgres, most_waiting: usize) {
    let owner = Owner::from_bytes([2; 16]);
    while schema.waiting_for_locks() == "0" {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        let new = NewJob { owner, ..super::support::new_job(None, "go") };
        let job_id = daemon.submit(new).await.unwrap().unwrap().job_id;
        assert!(daemon.status(owner, &job_id).await.unwrap().is_some());
        take(daemon).await.unwrap();
        let waiting: usize = schema.waiting_for_locks().parse().unwrap();
        assert!(waiting <= most_waiting, "{waiting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_of_a_locked_token_delay_no_other_token() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let ids = join_all((0..40).map(|_| submit(&daemon, "go"))).await;
    let lock = schema.lock(Owner::ANONYMOUS).await;
    let cancels = join_all(ids.iter().map(async |id| {
        loop {
            match daemon.cancel(Owner::ANONYMOUS, id).await {
                Ok(_) => break,
                Err(error) => assert_eq!(error.to_string(), "queue of the token locked in the database"),
            }
        }
    }));
    let test = async {
        other_token_is_served(&schema, &daemon, 1).await;
        lock.batch_execute("ROLLBACK").await.unwrap();
    };
    tokio::join!(cancels, test);
    assert_eq!(schema.sql("SELECT count(*) FROM jobs WHERE error = 'cancelled'"), "40");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_locked_jobs_delay_no_other_job() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(100)).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        submit(&daemon, "go").await;
        ids.push(take(&daemon).await.unwrap().job_id);
    }
    let lock = schema.session().await;
    lock.batch_execute("BEGIN; SELECT FROM jobs WHERE state = 'running' FOR UPDATE").await.unwrap();
    let is_over = AtomicBool::new(false);
    let ends = join_all(ids.iter().map(async |id| {
        while daemon.finish(id, 1, done()).await.is_err() {
            assert!(!is_over.load(Ordering::Relaxed));
        }
    }));
    let test = async {
        other_token_is_served(&schema, &daemon, 4).await;
        assert_eq!(daemon.shared.lease.renew(&daemon.shared.database).await.unwrap(), Renewal::Renewed);
        lock.batch_execute("ROLLBACK").await.unwrap();
    };
    tokio::join!(ends, test);
    assert_eq!(schema.sql("SELECT count(*) FROM jobs WHERE state = 'done'"), "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_is_renewed_while_no_other_connection_is_free() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let (begun, mut operations) = mpsc::unbounded_channel();
    for _ in 0..20 {
        let (begun, database) = (begun.clone(), daemon.shared.database.clone());
        tokio::spawn(async move {
            let operation = database.run(move |_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    std::future::pending::<Result<(), _>>().await
                })
            });
            operation.await
        });
    }
    for _ in 0..6 {
        operations.recv().await.unwrap();
    }
    assert_eq!(daemon.shared.lease.renew(&daemon.shared.database).await.unwrap(), Renewal::Renewed);
}

#[tokio::test]
async fn operation_that_panics_leaves_no_transaction_to_the_next() {
    let Some(schema) = Schema::new() else { return };
    let database = schema.open().await.shared.database.clone();
    let panics = database.run(|client| {
        Box::pin(async move {
            client.batch_execute("BEGIN; SET LOCAL application_name = 'in a transaction'").await?;
            if true {
                panic!("as a fault of the daemon does");
            }
            Ok(())
        })
    });
    panics.await.unwrap_err();
    let name = database.run(|client| {
        Box::pin(async move {
            Ok(query_opt(client, "SELECT current_setting('application_name')", &[])
                .await?
                .map(|row| row.get::<_, String>(0)))
        })
    });
    assert_ne!(name.await.unwrap().unwrap(), "in a transaction");
}
