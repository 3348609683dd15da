//! Daemons that are gone, cut off or late.

use std::time::Duration;

use super::support::{Schema, done, open_named, state, submit, take};
use crate::store::postgres::Postgres;
use crate::store::postgres::lease::Renewal;
use crate::store::postgres::maintenance::{end_leases, pass};
use crate::store::{Cost, Store as _, StoreOptions};

const PAST: &str = "UPDATE boxes SET leased_until = clock_timestamp() - interval '1 second'";

/// Lets the lease of a daemon pass.
fn let_pass(schema: &Schema, daemon: &Postgres) {
    schema.sql(&format!("{PAST} WHERE id = '{}'", daemon.shared.lease.id()));
}

/// The future completes. The duration is not an assertion.
async fn bounded<F: std::future::Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

#[tokio::test]
async fn job_of_lost_daemon_runs_again_and_its_late_outcome_changes_nothing() {
    let Some(schema) = Schema::new() else { return };
    let (lost, other) = (schema.open().await, schema.open().await);
    let job_id = submit(&lost, "go").await;
    assert_eq!(take(&lost).await.unwrap().attempt, 1);
    end_leases(&other.shared).await.unwrap();
    assert_eq!(state(&other, &job_id).await, "running 1 ");
    let_pass(&schema, &lost);
    end_leases(&other.shared).await.unwrap();
    let queued = "queued 1 daemon lost during attempt 1";
    assert_eq!(state(&other, &job_id).await, queued);

    // It runs on, and does not know that it is lost.
    assert!(!lost.finish(&job_id, 1, done()).await.unwrap());
    assert!(lost.restart(&job_id, 1, "late").await.unwrap().is_none());
    lost.requeue(&job_id, 1, Cost::Free, "late").await.unwrap();
    assert!(take(&lost).await.is_none(), "it has no lease");
    assert_eq!(state(&other, &job_id).await, queued);

    let again = take(&other).await.unwrap();
    assert_eq!((again.job_id.clone(), again.attempt, again.spent), (job_id.clone(), 2, 2));
    assert!(!lost.finish(&job_id, 1, done()).await.unwrap());
    assert!(other.finish(&job_id, 2, done()).await.unwrap());
    assert_eq!(state(&lost, &job_id).await, "done 2 ");
}

#[tokio::test]
async fn last_attempt_of_lost_daemon_fails_the_job() {
    let Some(schema) = Schema::new() else { return };
    let (lost, other) =
        (schema.open().await, schema.open_with(StoreOptions { attempts: 1, ..StoreOptions::of_test(9) }).await);
    let job_id = submit(&lost, "go").await;
    take(&lost).await.unwrap();
    let_pass(&schema, &lost);
    end_leases(&other.shared).await.unwrap();
    assert_eq!(state(&other, &job_id).await, "failed 1 daemon lost during attempt 1, the last one");
    assert_eq!(schema.sql("SELECT count(*) FROM jobs WHERE body IS NULL AND completed_at IS NOT NULL"), "1");
}

#[tokio::test]
async fn daemon_that_has_just_started_ends_no_lease_of_others() {
    let Some(schema) = Schema::new() else { return };
    let (first, second) = (schema.open().await, schema.open().await);
    schema.sql(PAST);
    pass(&second.shared).await.unwrap();
    assert_eq!(schema.sql("SELECT count(*) FROM boxes"), "2");
    // After an outage of the database every daemon is late, and renews its lease.
    for daemon in [&first, &second] {
        assert_eq!(daemon.shared.lease.renew(&daemon.shared.database).await.unwrap(), Renewal::Renewed);
    }
    end_leases(&second.shared).await.unwrap();
    assert_eq!(schema.sql("SELECT count(*) FROM boxes"), "2");
}

#[tokio::test]
async fn daemon_whose_lease_was_ended_stops_its_runs_and_begins_anew() {
    let Some(schema) = Schema::new() else { return };
    let daemon = open_named(&schema.url, Duration::from_secs(1), "a", StoreOptions::of_test(9)).await.unwrap();
    let job_id = submit(&daemon, "go").await;
    take(&daemon).await.unwrap();
    let (before, lost) = (daemon.shared.lease.id(), daemon.lease_lost(&job_id));
    schema.sql("DELETE FROM boxes");
    bounded(lost).await;
    let registered = async {
        while schema.sql("SELECT count(*) FROM boxes") == "0" {
            tokio::task::yield_now().await;
        }
    };
    bounded(registered).await;
    assert_ne!(daemon.shared.lease.id(), before);
    // The job belongs to the daemon that is gone.
    end_leases(&daemon.shared).await.unwrap();
    assert_eq!(take(&daemon).await.unwrap().attempt, 2);
}

#[tokio::test]
async fn daemon_without_a_database_stops_its_runs_when_its_lease_ends() {
    let Some(server) = super::support::PostgresServer::start() else { return };
    let url = server.schema();
    let daemon = open_named(&url, Duration::from_secs(1), "a", StoreOptions::of_test(9)).await.unwrap();
    let job_id = submit(&daemon, "go").await;
    take(&daemon).await.unwrap();
    let lost = daemon.lease_lost(&job_id);
    server.stop();
    bounded(lost).await;
    server.up();
    // Nobody has taken the job over.
    let finished = async {
        loop {
            match daemon.finish(&job_id, 1, done()).await {
                Ok(finished) => return finished,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    assert!(bounded(finished).await);
}

#[tokio::test]
async fn job_whose_start_had_no_answer_is_given_back() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let known = submit(&daemon, "one").await;
    take(&daemon).await.unwrap();
    let unknown = submit(&daemon, "two").await;
    let owner = "'\\x00000000000000000000000000000000'";
    let taken =
        schema.sql(&format!("SELECT id FROM take_job('{}', {owner}, NULL, NULL, NULL, 9)", daemon.shared.lease.id()));
    assert_eq!(taken, unknown.as_str());
    pass(&daemon.shared).await.unwrap();
    assert_eq!(
        (state(&daemon, &known).await, state(&daemon, &unknown).await),
        ("running 1 ".to_owned(), "queued 1 ".to_owned())
    );
    let again = take(&daemon).await.unwrap();
    assert_eq!((again.job_id, again.attempt, again.spent), (unknown, 2, 1));
}

#[tokio::test]
async fn stop_gives_the_attempt_back_and_leaves_no_lease() {
    let Some(schema) = Schema::new() else { return };
    let (stopped, other) = (schema.open().await, schema.open().await);
    let job_id = submit(&stopped, "go").await;
    take(&stopped).await.unwrap();
    stopped.interrupt().await.unwrap();
    stopped.close().await.unwrap();
    assert_eq!(state(&other, &job_id).await, "queued 1 daemon stopped during attempt 1");
    assert_eq!(schema.sql("SELECT count(*) FROM boxes"), "1");
    let again = take(&other).await.unwrap();
    assert_eq!((again.attempt, again.spent), (2, 1));
}

/// Names are for operators. Daemons differ by their ids.
#[tokio::test]
async fn daemons_with_one_name_have_leases_of_their_own() {
    let Some(schema) = Schema::new() else { return };
    let open = || open_named(&schema.url, Duration::from_secs(3600), "one name", StoreOptions::of_test(9));
    let (lost, other) = (open().await.unwrap(), open().await.unwrap());
    let jobs = [submit(&lost, "go").await, submit(&lost, "go").await];
    assert_eq!(take(&lost).await.unwrap().job_id, jobs[0]);
    assert_eq!(take(&other).await.unwrap().job_id, jobs[1]);
    assert_eq!(schema.sql("SELECT count(*), count(DISTINCT name) FROM boxes"), "2|1");
    let_pass(&schema, &lost);
    end_leases(&other.shared).await.unwrap();
    assert_eq!(state(&other, &jobs[0]).await, "queued 1 daemon lost during attempt 1");
    assert!(other.finish(&jobs[1], 1, done()).await.unwrap());
}
