//! Taking jobs beside locked tokens, and beside many tokens and jobs.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::{Schema, literal, submit, take, take_wanted};
use crate::owner::Owner;
use crate::store::postgres::maintenance::end_leases;
use crate::store::{Store as _, StoreOptions, Wanted};

fn tokens() -> [Owner; 2] {
    [Owner::from_bytes([1; 16]), Owner::from_bytes([2; 16])]
}

async fn running(schema: &Schema, owner: Owner) -> String {
    schema.sql(&format!("SELECT count(*) FROM jobs WHERE state = 'running' AND owner = {}", literal(owner)))
}

#[tokio::test]
async fn locked_token_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let [locked, other] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(other, 2, "", "");
    let lock = schema.lock(locked).await;
    for taken in ["1", "2"] {
        take(&daemon).await.unwrap();
        assert_eq!(running(&schema, other).await, taken);
    }
    assert!(take(&daemon).await.is_none());
    lock.batch_execute("ROLLBACK").await.unwrap();
    take(&daemon).await.unwrap();
    assert_eq!(running(&schema, locked).await, "1");
}

/// Another session has locked the first job of a token, and not the token.
#[tokio::test]
async fn locked_job_delays_no_other_token() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let [locked, other] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(other, 2, "", "");
    let _lock = schema.lock_rows("jobs ORDER BY number LIMIT 1").await;
    for taken in ["1", "2"] {
        take(&daemon).await.unwrap();
        assert_eq!(running(&schema, other).await, taken);
    }
    assert!(take(&daemon).await.is_none());
}

/// As when a model was removed from the server.
#[tokio::test]
async fn batch_of_a_model_that_the_backend_does_not_list_any_more_ends() {
    let Some(schema) = Schema::new() else { return };
    let batch = NonZeroUsize::new(8).unwrap();
    let daemon = schema.open_with(StoreOptions { batch, ..StoreOptions::of_test(100) }).await;
    let [owner, _] = tokens();
    schema.insert(owner, 3, "", "");
    let wanted = |model: &str| Wanted { backend: 0, models: Some(Arc::new([model].iter().collect())) };
    assert!(take_wanted(&daemon, wanted("m")).await.is_some());
    assert!(take_wanted(&daemon, wanted("n\0")).await.is_none());
    assert!(take_wanted(&daemon, wanted("m")).await.is_some());
}

#[tokio::test]
async fn token_whose_turn_it_is_and_that_is_locked_for_a_moment_retains_its_turn() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    daemon.shared.lock_wait.set_wait(Duration::from_secs(60));
    let [locked, other] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(other, 1, "", "");
    let lock = schema.lock(locked).await;
    let release = async {
        while schema.waiting_for_locks() == "0" {
            tokio::task::yield_now().await;
        }
        lock.batch_execute("ROLLBACK").await.unwrap();
    };
    let (taken, ()) = tokio::join!(take(&daemon), release);
    taken.unwrap();
    assert_eq!(running(&schema, locked).await, "1");
}

#[tokio::test]
async fn token_to_which_jobs_are_submitted_has_half_of_the_turns_beside_another() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(100_000)).await;
    daemon.shared.lock_wait.set_wait(Duration::from_secs(60));
    let [other, _] = tokens();
    schema.insert(other, 200, "", "");
    schema.insert(Owner::ANONYMOUS, 200, "", "");
    let is_over = AtomicBool::new(false);
    let submitter = async || {
        while !is_over.load(Ordering::Relaxed) {
            submit(&daemon, "go").await;
        }
    };
    let submissions = futures_util::future::join_all((0..16).map(|_| submitter()));
    let takes = async {
        for _ in 0..100 {
            take(&daemon).await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(submissions, takes);
    assert_eq!((running(&schema, Owner::ANONYMOUS).await, running(&schema, other).await), ("50".into(), "50".into()));
}

#[tokio::test]
async fn locked_token_of_the_present_batch_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let batch = NonZeroUsize::new(8).unwrap();
    let daemon = schema.open_with(StoreOptions { batch, ..StoreOptions::of_test(100) }).await;
    let [locked, other] = tokens();
    schema.insert(locked, 3, "", "");
    take(&daemon).await.unwrap();
    schema.insert(other, 2, "", "");
    let lock = schema.lock(locked).await;
    take(&daemon).await.unwrap();
    assert_eq!(running(&schema, other).await, "1");
    lock.batch_execute("ROLLBACK").await.unwrap();
    take(&daemon).await.unwrap();
    assert_eq!(running(&schema, other).await, "2", "it is its batch now");
}

#[tokio::test]
async fn jobs_of_a_lost_daemon_run_again_beside_a_locked_token() {
    let Some(schema) = Schema::new() else { return };
    let (lost, other) = (schema.open().await, schema.open().await);
    let [locked, free] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(free, 1, "", "");
    take(&lost).await.unwrap();
    take(&lost).await.unwrap();
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{}'", lost.shared.lease.id()));
    let lock = schema.lock(locked).await;
    end_leases(&other.shared).await.unwrap();
    assert_eq!((running(&schema, locked).await, running(&schema, free).await), ("1".to_owned(), "0".to_owned()));
    lock.batch_execute("ROLLBACK").await.unwrap();
    end_leases(&other.shared).await.unwrap();
    assert_eq!(running(&schema, locked).await, "0");
}

#[tokio::test]
async fn jobs_of_a_lost_daemon_run_again_beside_a_locked_job() {
    let Some(schema) = Schema::new() else { return };
    let (lost, other) = (schema.open().await, schema.open().await);
    let [locked, free] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(free, 1, "", "");
    take(&lost).await.unwrap();
    take(&lost).await.unwrap();
    schema.sql(&format!("DELETE FROM boxes WHERE id = '{}'", lost.shared.lease.id()));
    let _lock = schema.lock_rows("jobs ORDER BY number LIMIT 1").await;
    end_leases(&other.shared).await.unwrap();
    assert_eq!((running(&schema, locked).await, running(&schema, free).await), ("1".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn overdue_jobs_fail_beside_a_locked_job() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    for token in tokens() {
        schema.insert(token, 1, ", start_by", ", clock_timestamp() - interval '1 s'");
    }
    let _lock = schema.lock_rows("jobs ORDER BY number LIMIT 1").await;
    assert_eq!(daemon.fail_overdue().await.unwrap().jobs.len(), 1);
}

/// The attempts that the stop interrupts do not count.
#[tokio::test]
async fn daemon_that_stops_beside_a_locked_token_queues_the_jobs_of_others() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let [locked, free] = tokens();
    schema.insert(locked, 1, "", "");
    schema.insert(free, 1, "", "");
    take(&daemon).await.unwrap();
    take(&daemon).await.unwrap();
    let _lock = schema.lock(locked).await;
    assert!(daemon.interrupt().await.unwrap_err().is_lock_timeout());
    assert_eq!((running(&schema, locked).await, running(&schema, free).await), ("1".to_owned(), "0".to_owned()));
    assert_eq!(schema.sql(&format!("SELECT spent FROM jobs WHERE owner = {}", literal(free))), "0");
}

/// Each turn of that token costs more.
#[tokio::test]
async fn take_costs_others_the_same_however_many_models_of_one_token_wait() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    let [other, many] = tokens();
    let take = format!("SELECT model FROM take_next('{}', NULL, NULL, 9, 50)", daemon.shared.lease.id());
    schema.insert(other, 1, "", "");
    let cost = async |jobs| {
        schema.insert(many, jobs, "", "");
        schema.sql("UPDATE jobs SET model = 'n' || number WHERE number > 1");
        schema.cost(&take).await
    };
    let (few, more) = (cost(3).await, cost(1_000).await);
    assert!(few.0.as_deref() == Some("m") && more.0 == few.0 && more.1 <= few.1 + 5, "{few:?}, {more:?}");
}

#[tokio::test]
async fn take_costs_the_same_however_many_tokens_and_jobs_wait() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    // The planner knows nothing of the jobs that follow.
    schema.sql("ANALYZE");
    let add = |tokens: std::ops::Range<u32>| {
        schema.sql(&format!(
            r#"INSERT INTO owners (owner) SELECT int4send(n) FROM generate_series({0}, {1} - 1) AS n;
            INSERT INTO jobs (id, owner, model, body)
            SELECT gen_random_uuid()::text, int4send(n), 'm' || n % 2, '{{"model":"m"}}'
            FROM generate_series({0}, {1} - 1) AS n, generate_series(1, 5)"#,
            tokens.start, tokens.end
        ));
    };
    let id = daemon.shared.lease.id();
    let costs = async || {
        let mut costs = Vec::new();
        for models in ["ARRAY['none']", "ARRAY['m', 'none']", "ARRAY['m1', 'm0', 'none']", "NULL", "ARRAY['z']"] {
            costs.push(schema.cost(&format!("SELECT model FROM take_next('{id}', NULL, {models}, 9, 50)")).await);
        }
        costs
    };
    let last = Owner::from_bytes([9; 16]);
    let add_last = |count| {
        schema.insert(last, count, "", "");
        schema.sql("ANALYZE jobs");
        // Its last job is one of a model that the planner does not know of.
        schema.insert(last, 1, "", "");
        schema.sql("UPDATE jobs SET model = 'z' WHERE number = (SELECT max(number) FROM jobs)");
    };
    add(0..4);
    add_last(1);
    let before = costs().await;
    schema.sql(&format!("DELETE FROM jobs WHERE owner = {}", literal(last)));
    add(4..400);
    add_last(1_000);
    let after = costs().await;
    let models: Vec<_> = before.iter().map(|(model, _)| model.as_deref()).collect();
    assert_eq!(models, [None, Some("m"), Some("m0"), Some("m0"), Some("z")]);
    for ((model, before), (same, after)) in before.into_iter().zip(after) {
        // Rows that were deleted are in the indexes for a while.
        assert!(model == same && after <= before + 5, "{model:?} and {same:?}: {before}, {after} after it");
    }
}

#[tokio::test]
async fn token_without_jobs_of_a_model_is_looked_at_once() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let [owner, _] = tokens();
    schema.insert(owner, 2, "", "");
    schema.sql("UPDATE jobs SET model = 'n' WHERE number = (SELECT max(number) FROM jobs)");
    let models = || schema.sql("SELECT string_agg(model, ' ' ORDER BY model) FROM waiting");
    let of_m = || Wanted { backend: 0, models: Some(Arc::new(["m"].iter().collect())) };
    assert!(take_wanted(&daemon, of_m()).await.is_some());
    assert!(take_wanted(&daemon, of_m()).await.is_none());
    assert_eq!(models(), "n");
    assert!(take(&daemon).await.is_some());
    assert_eq!(models(), "");
}

#[tokio::test]
async fn single_token_is_served_while_jobs_are_submitted_to_it() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(StoreOptions::of_test(10_000)).await;
    let submissions = async {
        for _ in 0..20 {
            futures_util::future::join_all((0..10).map(|_| submit(&daemon, "go"))).await;
        }
    };
    let takes = async {
        let mut taken = 0;
        while taken < 200 {
            taken += usize::from(take(&daemon).await.is_some());
        }
    };
    let both = async { tokio::join!(submissions, takes) };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(schema.sql("SELECT sum(queued) FROM owners"), "0");
}
