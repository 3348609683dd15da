//! The database's clock counts, whatever that of a daemon shows.

use std::time::Duration;

use jiff::Timestamp;

use super::support::{Schema, done, new_job, open_named, state, submit, take};
use crate::JobId;
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::lease::Renewal;
use crate::store::postgres::maintenance::{end_leases, pass, sweep};
use crate::store::{NewJob, Store as _, StoreOptions};

fn set_clock(schema: &Schema, shift: &str) {
    schema.sql(&format!(
        "CREATE OR REPLACE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql
            AS 'SELECT pg_catalog.clock_timestamp() {shift}'"
    ));
}

/// Opens a schema whose times differ from those of this process.
async fn open_with_clock(schema: &Schema, shift: &str) -> Postgres {
    set_clock(schema, shift);
    let url = format!("{},pg_catalog", schema.url);
    open_named(&url, Duration::from_secs(600), "other clock", StoreOptions::of_test(9)).await.unwrap()
}

fn in_minutes(minutes: u64) -> Option<Timestamp> {
    Some(Timestamp::now() + Duration::from_secs(minutes * 60))
}

#[tokio::test]
async fn daemon_whose_clock_is_an_hour_late_works() {
    let Some(schema) = Schema::new() else { return };
    let daemon = open_with_clock(&schema, "+ interval ''1 hour''").await;
    let new = |start_by| NewJob { start_by, ..new_job(None, "go") };
    let overdue = daemon.submit(new(in_minutes(30))).await.unwrap().unwrap().job_id;
    let job_id = daemon.submit(new(in_minutes(90))).await.unwrap().unwrap().job_id;
    let failed = daemon.fail_overdue().await.unwrap();
    assert_eq!(failed.jobs, [overdue]);
    // In half an hour, by the clock of the daemon too.
    let next = failed.next.unwrap();
    assert!(next > in_minutes(29).unwrap() && next < in_minutes(31).unwrap(), "{next}");
    assert_eq!(take(&daemon).await.unwrap().job_id, job_id);
    end_leases(&daemon.shared).await.unwrap();
    assert!(daemon.finish(&job_id, 1, done()).await.unwrap());
    let status = daemon.status(Owner::ANONYMOUS, &job_id).await.unwrap().unwrap();
    let times = [status.created_at, status.started_at, status.completed_at].map(Option::unwrap);
    assert!(times.is_sorted() && times[0] > in_minutes(59).unwrap(), "{times:?}");
    assert_eq!(sweep(&daemon.shared).await.unwrap(), 0);
}

async fn submit_with_ttl(daemon: &Postgres, seconds: u64) -> JobId {
    let mut new = NewJob::of_test(&format!(r#"{{"model":"m","ttl":{seconds}}}"#));
    // As the API does.
    new.start_by = new.submission.start_by(Timestamp::now());
    daemon.submit(new).await.unwrap().unwrap().job_id
}

#[tokio::test]
async fn time_to_live_is_that_of_the_database() {
    for shift in ["+ interval ''1 hour''", "- interval ''1 hour''"] {
        let Some(schema) = Schema::new() else { return };
        let daemon = open_with_clock(&schema, shift).await;
        let job_id = submit_with_ttl(&daemon, 600).await;
        let overdue = daemon.fail_overdue().await.unwrap();
        assert!(overdue.jobs.is_empty(), "{shift}");
        // In ten minutes, by the clock of the daemon too.
        let next = overdue.next.unwrap();
        assert!(next > in_minutes(9).unwrap() && next < in_minutes(11).unwrap(), "{shift}: {next}");
        assert_eq!(take(&daemon).await.unwrap().job_id, job_id);
        // It never comes.
        submit_with_ttl(&daemon, 1_000_000_000_000_000).await;
        assert!(daemon.fail_overdue().await.unwrap().next.is_none());
    }
}

/// Its leases seem to be over, although their daemons renew them.
#[tokio::test]
async fn clock_that_is_set_ends_no_lease() {
    let Some(schema) = Schema::new() else { return };
    set_clock(&schema, "+ interval ''0''");
    let url = format!("{},pg_catalog", schema.url);
    let open = async |name| open_named(&url, Duration::from_secs(60), name, StoreOptions::of_test(9)).await.unwrap();
    let (one, two) = (open("one").await, open("two").await);
    let job_id = submit(&one, "go").await;
    assert_eq!(take(&one).await.unwrap().job_id, job_id);
    pass(&two.shared).await.unwrap();
    two.shared.lease.make_steady();
    assert!(two.shared.lease.is_steady());
    set_clock(&schema, "+ interval ''2 minutes''");
    for _ in 0..2 {
        pass(&two.shared).await.unwrap();
        assert_eq!(state(&two, &job_id).await, "running 1 ");
    }
    assert!(!two.shared.lease.is_steady());
}

/// Its lease seems to be an hour longer.
#[tokio::test]
async fn daemon_that_was_lost_before_the_clock_was_set_back_loses_its_lease() {
    let Some(schema) = Schema::new() else { return };
    set_clock(&schema, "+ interval ''1 hour''");
    let url = format!("{},pg_catalog", schema.url);
    let open = async |name| open_named(&url, Duration::from_secs(60), name, StoreOptions::of_test(9)).await.unwrap();
    let (lost, other) = (open("lost").await, open("other").await);
    let job_id = submit(&lost, "go").await;
    assert_eq!(take(&lost).await.unwrap().job_id, job_id);
    set_clock(&schema, "+ interval ''0''");
    assert_eq!(other.shared.lease.renew(&other.shared.database).await.unwrap(), Renewal::Renewed);
    end_leases(&other.shared).await.unwrap();
    assert_eq!(state(&other, &job_id).await, "queued 1 daemon lost during attempt 1");
    assert_eq!(schema.sql("SELECT name FROM boxes"), "other");
}
