//! One queue for several daemons.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::support::{Schema, done, new_job, new_job_of, submit, take, take_wanted};
use crate::JobId;
use crate::owner::Owner;
use crate::store::postgres::Postgres;
use crate::store::postgres::maintenance::sweep;
use crate::store::{NewJob, Query, Store as _, StoreOptions, SubmitError, Wanted};

fn in_batches(of: usize) -> StoreOptions {
    StoreOptions { batch: NonZeroUsize::new(of).unwrap(), ..StoreOptions::of_test(1000) }
}

async fn submit_of(store: &Postgres, owner: Owner, model: &str, priority: i8) -> JobId {
    let new = NewJob { owner, priority, ..new_job_of(model, None, "go") };
    store.submit(new).await.unwrap().unwrap().job_id
}

/// The models of the jobs that a daemon takes next.
async fn models(store: &Postgres, count: usize) -> String {
    let mut models = String::new();
    for _ in 0..count {
        models += take(store).await.unwrap().submission.model();
    }
    models
}

#[tokio::test]
async fn each_daemon_runs_batches_of_its_own() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = (schema.open_with(in_batches(3)).await, schema.open_with(in_batches(3)).await);
    for _ in 0..4 {
        for model in ["a", "b"] {
            submit_of(&one, Owner::ANONYMOUS, model, 0).await;
        }
    }
    assert_eq!(models(&one, 2).await, "aa");
    // The oldest job is one of b now.
    assert_eq!(models(&two, 2).await, "bb");
    assert_eq!((models(&one, 2).await, models(&two, 2).await), ("ab".to_owned(), "ba".to_owned()));
    assert!(take(&one).await.is_none() && take(&two).await.is_none());
}

#[tokio::test]
async fn daemon_leaves_the_models_that_it_does_not_have_to_others() {
    let Some(schema) = Schema::new() else { return };
    let (one, two) = (schema.open_with(in_batches(2)).await, schema.open_with(in_batches(2)).await);
    for model in ["a", "b:latest", "a", "b"] {
        submit_of(&one, Owner::ANONYMOUS, model, 0).await;
    }
    let wanted = |models: &[&str]| Wanted { backend: 1, models: Some(Arc::new(models.iter().collect())) };
    let model =
        async |store, models| take_wanted(store, wanted(models)).await.map(|taken| taken.submission.model().to_owned());
    assert_eq!(model(&one, &["c"]).await, None);
    assert_eq!(model(&one, &["b", "c"]).await.unwrap(), "b:latest");
    assert_eq!(model(&two, &["c", "b:latest"]).await.unwrap(), "b");
    assert_eq!(model(&one, &["b"]).await, None);
    assert_eq!(models(&one, 2).await, "aa");
}

#[tokio::test]
async fn higher_priority_ends_a_batch() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open_with(in_batches(9)).await;
    for model in ["a", "a", "b"] {
        submit_of(&daemon, Owner::ANONYMOUS, model, 0).await;
    }
    assert_eq!(models(&daemon, 1).await, "a");
    submit_of(&daemon, Owner::ANONYMOUS, "a", -1).await;
    submit_of(&daemon, Owner::ANONYMOUS, "c", 1).await;
    assert_eq!(models(&daemon, 4).await, "caba");
}

/// How often two daemons load a model for the jobs of three tokens and four models, in a random order.
async fn model_loads(batch: usize, seed: u64) -> Option<usize> {
    let schema = Schema::new()?;
    let daemons = [schema.open_with(in_batches(batch)).await, schema.open_with(in_batches(batch)).await];
    let tokens = [b"a", b"b", b"c"].map(|token| Owner::from_token(token));
    let of_each = |owner| ["k", "l", "m", "n"].iter().flat_map(move |model| [(owner, *model); 20]);
    let mut jobs: Vec<_> = tokens.into_iter().flat_map(of_each).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    random.shuffle(&mut jobs);
    for (owner, model) in &jobs {
        submit_of(&daemons[0], *owner, model, 0).await;
    }
    let (mut loaded, mut loads) = ([String::new(), String::new()], 0);
    for _ in &jobs {
        let at = random.usize(..2);
        let model = models(&daemons[at], 1).await;
        loads += usize::from(loaded[at] != model);
        loaded[at] = model;
    }
    Some(loads)
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "ARCHITECTURE.md has these figures")]
async fn batches_save_model_loads() {
    let seed = fastrand::u64(..);
    let (Some(in_batches), Some(in_order)) = (model_loads(8, seed).await, model_loads(1, seed).await) else { return };
    println!("240 jobs: {in_batches} loads in batches of 8, {in_order} in their order (seed {seed})");
    // The 20 jobs that a token has of a model are three batches, some of which two daemons share.
    assert!(in_batches <= 48 && in_order >= 120, "seed {seed}: {in_batches} and {in_order}");
}

#[tokio::test]
async fn tokens_take_turns_over_all_daemons_within_their_limit() {
    let Some(schema) = Schema::new() else { return };
    let mut options = StoreOptions::of_test(100);
    options.max_queue.running_of_owner = 2;
    let (one, two) = (schema.open_with(options.clone()).await, schema.open_with(options).await);
    let (a, b) = (Owner::from_token(b"a"), Owner::from_token(b"b"));
    let mut of_a = Vec::new();
    for _ in 0..5 {
        of_a.push(submit_of(&one, a, "a", 0).await);
    }
    submit_of(&one, b, "b", 0).await;
    assert_eq!((models(&one, 1).await, models(&two, 2).await), ("a".to_owned(), "ba".to_owned()));
    assert!(take(&one).await.is_none() && take(&two).await.is_none(), "a has as many as it may");
    assert!(two.finish(&of_a[0], 1, done()).await.unwrap());
    assert_eq!(take(&one).await.unwrap().job_id, of_a[2]);
}

#[tokio::test]
async fn one_key_is_one_job_at_all_daemons() {
    let Some(schema) = Schema::new() else { return };
    let daemons = [schema.open().await, schema.open().await];
    let submissions = (0..40).map(|index| daemons[index % 2].submit(new_job(Some("key"), "go")));
    let submitted: Vec<_> =
        join_all(submissions).await.into_iter().map(|submitted| submitted.unwrap().unwrap()).collect();
    assert!(submitted.iter().all(|job| job.job_id == submitted[0].job_id));
    assert_eq!(submitted.iter().filter(|job| !job.replayed).count(), 1);
    let reused = daemons[1].submit(new_job(Some("key"), "another body")).await.unwrap();
    assert_eq!(reused.unwrap_err(), SubmitError::KeyReused);
}

#[tokio::test]
async fn no_job_is_taken_twice() {
    let Some(schema) = Schema::new() else { return };
    let daemons = [schema.open_with(in_batches(4)).await, schema.open_with(in_batches(4)).await];
    for _ in 0..30 {
        submit(&daemons[0], "go").await;
    }
    let taken = join_all((0..40).map(|index| take(&daemons[index % 2]))).await;
    let mut taken: Vec<_> = taken.into_iter().flatten().map(|taken| taken.job_id).collect();
    taken.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    taken.dedup();
    assert_eq!(taken.len(), 30);
    assert_eq!(schema.sql("SELECT sum(queued) FROM owners"), "0");
}

#[tokio::test]
async fn limits_count_the_jobs_of_all_daemons() {
    let Some(schema) = Schema::new() else { return };
    let mut options = StoreOptions::of_test(100);
    (options.max_queue.all, options.max_queue.of_owner) = (5, 3);
    let daemons = [schema.open_with(options.clone()).await, schema.open_with(options).await];
    let of = |token: &'static [u8]| {
        let new = move || NewJob { owner: Owner::from_token(token), ..new_job(None, "go") };
        join_all((0..8).map(|index| daemons[index % 2].submit(new())).collect::<Vec<_>>())
    };
    let refused = |outcomes: Vec<Result<Result<_, _>, _>>, error| {
        let errors: Vec<_> = outcomes.into_iter().filter_map(|outcome| outcome.unwrap().err()).collect();
        assert!(errors.iter().all(|other: &SubmitError| *other == error), "{errors:?}");
        errors.len()
    };
    assert_eq!(refused(of(b"a").await, SubmitError::TooManyOfOwner), 5);
    assert_eq!(refused(of(b"b").await, SubmitError::Full), 6);
}

#[tokio::test]
async fn expired_jobs_are_deleted_with_their_keys() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let ended = daemon.submit(new_job(Some("key"), "go")).await.unwrap().unwrap().job_id;
    take(&daemon).await.unwrap();
    assert!(daemon.finish(&ended, 1, done()).await.unwrap());
    let running = submit(&daemon, "stays").await;
    take(&daemon).await.unwrap();
    assert_eq!(sweep(&daemon.shared).await.unwrap(), 0);
    schema.sql("UPDATE jobs SET completed_at = completed_at - interval '86401 seconds'");
    assert_eq!((sweep(&daemon.shared).await.unwrap(), sweep(&daemon.shared).await.unwrap()), (1, 0));
    assert!(daemon.status(Owner::ANONYMOUS, &ended).await.unwrap().is_none());
    assert!(daemon.status(Owner::ANONYMOUS, &running).await.unwrap().is_some());
    assert!(!daemon.submit(new_job(Some("key"), "other")).await.unwrap().unwrap().replayed);
}

#[tokio::test]
async fn deadline_of_job_that_was_started_does_not_matter() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let start_by = Some(Timestamp::now() + std::time::Duration::from_secs(3600));
    let job_id = daemon.submit(NewJob { start_by, ..new_job(None, "go") }).await.unwrap().unwrap().job_id;
    assert!(daemon.fail_overdue().await.unwrap().next.is_some());
    take(&daemon).await.unwrap();
    daemon.requeue(&job_id, 1, crate::store::Cost::Counts, "no").await.unwrap();
    schema.sql("UPDATE jobs SET start_by = start_by - interval '2 hours'");
    let overdue = daemon.fail_overdue().await.unwrap();
    assert!(overdue.jobs.is_empty() && overdue.next.is_none());
    assert_eq!(take(&daemon).await.unwrap().attempt, 2);
}

#[tokio::test]
async fn page_ends_where_its_results_are_too_large() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    for _ in 0..3 {
        submit(&daemon, "go").await;
    }
    schema.sql("UPDATE jobs SET state = 'done', completed_at = now(), result = to_json(repeat('x', 9 << 20))");
    let query = |results, before| Query { owner: Owner::ANONYMOUS, state: None, before, limit: 3, results };
    let all = daemon.list(query(false, None)).await.unwrap();
    assert_eq!((all.jobs.len(), all.next), (3, None));
    let first = daemon.list(query(true, None)).await.unwrap();
    assert_eq!((first.jobs.len(), first.next), (1, Some(3)));
    // The connection has no rest of the page on it.
    let second = daemon.list(query(true, first.next)).await.unwrap();
    assert_eq!((second.jobs[0].job_id.clone(), second.next), (all.jobs[1].job_id.clone(), Some(2)));
}

#[tokio::test]
async fn backend_that_waits_for_a_lock_delays_no_other() {
    let Some(schema) = Schema::new() else { return };
    let daemon = schema.open().await;
    let job_id = submit(&daemon, "go").await;
    let turn = daemon.shared.turn_of(0);
    let _waits = turn.lock().await;
    let taken = take_wanted(&daemon, Wanted { backend: 1, ..Wanted::any() });
    let taken = tokio::time::timeout(std::time::Duration::from_secs(60), taken).await.unwrap();
    assert_eq!(taken.unwrap().job_id, job_id);
}
