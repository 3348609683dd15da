//! Submissions whose tokens, or whose jobs, another session has locked.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::support::{Schema, literal, new_job, new_job_of, open};
use crate::owner::Owner;
use crate::store::{NewJob, Store as _, StoreOptions};

/// Longer than any test takes.
const MINUTE: Duration = Duration::from_secs(60);

fn token(number: u8) -> Owner {
    Owner::from_bytes([number; 16])
}

fn of(number: u8) -> NewJob {
    NewJob { owner: token(number), ..new_job(None, "go") }
}

/// Another session has changed the row of one token, as the transactions of daemons do. The timeouts of the daemon's sessions are off.
#[tokio::test(flavor = "multi_thread")]
async fn submission_of_a_changed_token_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let url = format!("{}%20-clock_timeout%3D0%20-cstatement_timeout%3D0", schema.url);
    let daemon = open(&url, StoreOptions::of_test(100)).await.unwrap();
    daemon.submit(of(1)).await.unwrap().unwrap();
    let session = schema.session().await;
    session.batch_execute("BEGIN; UPDATE owners SET queued = queued").await.unwrap();
    let changed = daemon.submit(of(1));
    let other = daemon.submit(of(2));
    timeout(MINUTE, other).await.unwrap().unwrap().unwrap();
    session.batch_execute("ROLLBACK").await.unwrap();
    timeout(MINUTE, changed).await.unwrap().unwrap().unwrap();
}

/// Another session adds a token, and does not commit.
#[tokio::test(flavor = "multi_thread")]
async fn submission_of_a_token_that_another_session_adds_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let url = format!("{}%20-clock_timeout%3D0%20-cstatement_timeout%3D0", schema.url);
    let daemon = open(&url, StoreOptions::of_test(100)).await.unwrap();
    let session = schema.session().await;
    let add = format!("BEGIN; INSERT INTO owners (owner) VALUES ({})", literal(token(1)));
    session.batch_execute(&add).await.unwrap();
    let added = daemon.submit(of(1));
    let others = join_all((2..5).map(|number| daemon.submit(of(number))));
    for other in timeout(MINUTE, others).await.unwrap() {
        other.unwrap().unwrap();
    }
    session.batch_execute("ROLLBACK").await.unwrap();
    timeout(MINUTE, added).await.unwrap().unwrap().unwrap();
}

/// The limit is less than the daemon would need if it waited 200 ms for each of the 100 tokens.
#[tokio::test(flavor = "multi_thread")]
async fn many_locked_tokens_delay_others_as_one_does() {
    const LIMIT: Duration = Duration::from_secs(15);
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(1000)).await;
    for number in 1..=100 {
        schema.insert(token(number), 1, "", "");
    }
    let session = schema.session().await;
    session.batch_execute("BEGIN; SELECT FROM owners FOR UPDATE").await.unwrap();
    let locked: Vec<_> = (1..=100).map(|number| daemon.submit(of(number))).collect();
    timeout(LIMIT, daemon.submit(of(101))).await.unwrap().unwrap().unwrap();
    session.batch_execute("ROLLBACK").await.unwrap();
    for submitted in timeout(MINUTE, join_all(locked)).await.unwrap() {
        submitted.unwrap().unwrap();
    }
}

/// As before, and the submissions come one after another.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_found_locked_one_after_another_delay_others_as_one_does() {
    const LIMIT: Duration = Duration::from_secs(15);
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(1000)).await;
    for number in 1..=100 {
        schema.insert(token(number), 1, "", "");
    }
    let session = schema.session().await;
    session.batch_execute("BEGIN; SELECT FROM owners FOR UPDATE").await.unwrap();
    let all = async {
        for number in 1..=100 {
            drop(daemon.submit(of(number)));
            daemon.submit(of(101)).await.unwrap().unwrap();
        }
    };
    timeout(LIMIT, all).await.unwrap();
}

/// Submits these jobs of a token that is locked, and unlocks it when they wait for it.
async fn submitted_behind_a_lock(
    schema: &Schema,
    jobs: Vec<NewJob>,
) -> Vec<Result<Result<crate::store::Submitted, crate::store::SubmitError>, crate::store::StoreError>> {
    let daemon = schema.open().await;
    daemon.submit(of(1)).await.unwrap().unwrap();
    let session = schema.lock(token(1)).await;
    let first = daemon.submit(of(1));
    daemon.submit(of(2)).await.unwrap().unwrap();
    let submitted: Vec<_> = jobs.into_iter().map(|new| daemon.submit(new)).collect();
    // It comes after them, so that they wait for the token when it has been added.
    daemon.submit(of(2)).await.unwrap().unwrap();
    session.batch_execute("ROLLBACK").await.unwrap();
    first.await.unwrap().unwrap();
    timeout(MINUTE, join_all(submitted)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_jobs_of_a_locked_token_are_added_in_groups() {
    let Some(schema) = Schema::new() else { return };
    let text = "x".repeat(9 << 20);
    let jobs = (0..5).map(|_| NewJob { owner: token(1), ..new_job(None, &text) }).collect();
    for submitted in submitted_behind_a_lock(&schema, jobs).await {
        submitted.unwrap().unwrap();
    }
    // Three of them are less than 32 MiB.
    let groups = "SELECT string_agg(count::text, ' ' ORDER BY changed)
        FROM (SELECT changed, count(*) FROM jobs WHERE length(body) > 1000 GROUP BY changed) AS groups";
    assert_eq!(schema.sql(groups), "3 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_of_a_locked_token_that_the_database_refuses_fails_alone() {
    let Some(schema) = Schema::new() else { return };
    let mut jobs: Vec<_> = (0..5).map(|_| of(1)).collect();
    jobs.insert(2, NewJob { owner: token(1), ..new_job_of("a\0b", None, "no") });
    for (index, submitted) in submitted_behind_a_lock(&schema, jobs).await.into_iter().enumerate() {
        let is_refused = submitted.as_ref().is_err_and(crate::store::StoreError::is_refused_value);
        assert_eq!(is_refused, index == 2, "{submitted:?}");
        assert!(is_refused || submitted.unwrap().is_ok());
    }
}

fn keyed(url: &str) -> NewJob {
    NewJob { owner: token(1), webhook: Some(url.parse().unwrap()), ..new_job(Some("key"), "go") }
}

/// The repetition moves the events of the job, and waits for its row.
#[tokio::test(flavor = "multi_thread")]
async fn repetition_of_a_locked_job_delays_nothing_else_of_its_token() {
    let Some(schema) = Schema::new() else { return };
    let (daemon, other) = (schema.open().await, schema.open().await);
    let job_id = daemon.submit(keyed("http://one/")).await.unwrap().unwrap().job_id;
    let session = schema.session().await;
    session.batch_execute("BEGIN; SELECT FROM jobs FOR UPDATE").await.unwrap();
    let repeated = daemon.submit(keyed("http://two/"));
    let new = daemon.submit(of(1));
    let waits = async {
        while schema.waiting_for_locks() == "0" {
            tokio::task::yield_now().await;
        }
    };
    timeout(MINUTE, waits).await.unwrap();
    // It would fail if the token were locked.
    schema.sql("SELECT FROM owners FOR UPDATE NOWAIT");
    other.submit(of(1)).await.unwrap().unwrap();
    new.await.unwrap().unwrap();
    session.batch_execute("ROLLBACK").await.unwrap();
    let repeated = timeout(MINUTE, repeated).await.unwrap().unwrap().unwrap();
    assert!(repeated.replayed && repeated.job_id == job_id);
    let destinations =
        "SELECT webhook || ' ' || jobs.destination || ' ' || outbox.destination FROM jobs JOIN outbox USING (number)";
    assert_eq!(schema.sql(destinations), "http://two/ http://two:80 http://two:80");
}

/// Another session has locked the table.
#[tokio::test(flavor = "multi_thread")]
async fn submission_waits_for_a_locked_table() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let session = schema.session().await;
    session.batch_execute("BEGIN; LOCK TABLE jobs IN SHARE MODE").await.unwrap();
    let submitted = daemon.submit(of(1));
    let name = schema.url.rsplit_once("%3D").unwrap().1;
    let waiting = format!(
        "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity
        WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
    );
    let tried_twice = async {
        let mut first = String::new();
        loop {
            let start = schema.sql(&waiting);
            if !first.is_empty() && !start.is_empty() && start != first {
                break;
            }
            first = if first.is_empty() { start } else { first };
            tokio::task::yield_now().await;
        }
    };
    timeout(MINUTE, tried_twice).await.unwrap();
    session.batch_execute("ROLLBACK").await.unwrap();
    timeout(MINUTE, submitted).await.unwrap().unwrap().unwrap();
}
