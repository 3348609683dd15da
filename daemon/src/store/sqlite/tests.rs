use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tokio_test::block_on;

use super::Sqlite;
use crate::failure::failure;
use crate::owner::Owner;
use crate::store::{
    Cancelled, Claim, IdempotencyKey, Memory, NewJob, NextJob, Outcome, Output, Query, Store, SubmitError, Taken,
    Verdict,
};
use crate::{JobId, JobState};

/// Small, so that there are many.
const BATCH: NonZeroUsize = NonZeroUsize::new(2).unwrap();
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("jobs.db")
}

pub(super) fn open(folder: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(&file(folder), 100, BATCH, DAY, 3).unwrap()
}

pub(super) fn new(key: Option<&str>, text: &str) -> NewJob {
    new_of("m", key, text)
}

fn new_of(model: &str, key: Option<&str>, text: &str) -> NewJob {
    let body = Bytes::from(format!(r#"{{"model":"{model}","messages":[{{"content":"{text}"}}]}}"#));
    let key = key.map(|key| IdempotencyKey { text: key.as_bytes().into(), digest: [text.len().to_le_bytes()[0]; 32] });
    NewJob {
        owner: Owner::ANONYMOUS,
        submission: serde_json::from_slice(&body).unwrap(),
        body,
        webhook: None,
        traceparent: None,
        key,
    }
}

pub(super) fn submit(store: &dyn Store, text: &str) -> JobId {
    block_on(store.submit(new(None, text))).unwrap().unwrap().job_id
}

/// With a callback URL.
pub(super) fn submit_told(store: &dyn Store, text: &str) -> JobId {
    let told = NewJob { webhook: Some("http://h/".parse().unwrap()), ..new(None, text) };
    block_on(store.submit(told)).unwrap().unwrap().job_id
}

pub(super) fn take(store: &dyn Store) -> Option<Taken> {
    match block_on(store.take()).unwrap()? {
        NextJob::Run(taken) => Some(taken),
        NextJob::Damaged(job_id) => panic!("{job_id} is damaged"),
    }
}

pub(super) fn done_with(result: &str) -> Outcome {
    Outcome::Done(Output { result: serde_json::value::to_raw_value(result).unwrap(), artifacts: Vec::new() })
}

pub(super) fn done() -> Outcome {
    done_with("ok")
}

fn refused(folder: &tempfile::TempDir) -> String {
    refused_at(&file(folder))
}

/// What the daemon's error says of the file, which is called `PATH` in it.
fn refused_at(path: &Path) -> String {
    let error = Sqlite::open(path, 100, BATCH, DAY, 3).unwrap_err();
    let error = crate::Error::store(Path::new("PATH"), error);
    assert!(error.is_store() && !error.is_invalid_config() && !error.is_listen(), "{error}");
    failure(&error)
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let job_id = submit(&store, "first");
    let limit = |pages: &'static str| {
        block_on(store.writer.run(move |db| db.connection.execute_batch(&format!("PRAGMA max_page_count = {pages}"))))
            .unwrap();
    };
    limit("1");
    let long = "x".repeat(200_000);
    let broken = block_on(store.submit(new(None, &long))).unwrap_err();
    assert_eq!(broken.to_string(), "the disk of the store is full");
    // It is not in the queue either.
    assert_eq!(block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap().position, Some(1));
    limit("1000000");
    assert_eq!(
        block_on(store.list(Query { owner: Owner::ANONYMOUS, state: None, before: None, limit: 9 }))
            .unwrap()
            .jobs
            .len(),
        1
    );
    let second = submit(&store, &long);
    assert_eq!(take(&store).unwrap().job_id, job_id);
    assert_eq!(take(&store).unwrap().job_id, second);
    assert!(take(&store).is_none());
}

#[test]
fn what_failed_in_a_group_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let (bad, good) = block_on(async {
        let bad = store.writer.run(|db| {
            db.submit(&new(None, "half done"))?.unwrap();
            db.connection.execute_batch("INSERT INTO nowhere VALUES (1)")
        });
        tokio::join!(bad, store.submit(new(None, "whole")))
    });
    assert_eq!(bad.unwrap_err().to_string(), "the store failed");
    let job_id = good.unwrap().unwrap().job_id;
    assert_eq!(take(&store).unwrap().job_id, job_id);
    assert!(take(&store).is_none());
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(file(&folder), "not a database, but long enough to be taken for one by its length".repeat(100))
        .unwrap();
    let damaged = refused(&folder);
    assert!(damaged.starts_with("cannot open the store PATH: the store's file is damaged: "), "{damaged}");
    assert!(std::fs::read_to_string(file(&folder)).unwrap().starts_with("not a database"));

    let folder = tempfile::tempdir().unwrap();
    Connection::open(file(&folder)).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(refused(&folder), "the store PATH is a database of another program");

    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    Connection::open(file(&folder)).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    assert_eq!(refused(&folder), "the store PATH was written by a newer version (its tables are version 7, this is 1)");

    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    assert_eq!(refused(&folder), "the store PATH is in use by another daemon");
    drop(first);
    open(&folder);
    let nowhere = refused_at(&folder.path().join("no/such/jobs.db"));
    assert!(nowhere.starts_with("cannot lock the store PATH: "), "{nowhere}");
}

#[test]
fn what_ran_at_the_end_is_queued_again_until_its_attempts_are_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let job_id = submit(&open(&folder), "go");
    for attempt in 1..=3 {
        let store = open(&folder);
        assert_eq!(block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap().state, JobState::Queued);
        let taken = take(&store).unwrap();
        assert_eq!((taken.job_id, taken.attempt), (job_id.clone(), attempt));
    }
    let store = open(&folder);
    let status = block_on(store.status(Owner::ANONYMOUS, &job_id)).unwrap().unwrap();
    assert_eq!(status.state, JobState::Failed);
    assert_eq!(status.error.as_deref(), Some("the daemon ended 3 times while the job ran"));
    assert!(status.completed_at.is_some() && take(&store).is_none());
}

#[test]
fn jobs_are_swept_with_their_keys_when_they_were_kept_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let first = block_on(store.submit(new(Some("k"), "go"))).unwrap().unwrap().job_id;
    let taken = take(&store).unwrap();
    assert!(block_on(store.finish(&first, taken.attempt, done())).unwrap());
    let running = submit(&store, "stays");
    take(&store).unwrap();
    let sweep = || block_on(store.writer.run(super::db::Db::sweep)).unwrap();
    assert_eq!(sweep(), 0);
    block_on(
        store.writer.run(|db| db.connection.execute_batch("UPDATE jobs SET completed_at = completed_at - 86400000001")),
    )
    .unwrap();
    assert_eq!((sweep(), sweep()), (1, 0));
    assert!(block_on(store.status(Owner::ANONYMOUS, &first)).unwrap().is_none());
    assert!(block_on(store.status(Owner::ANONYMOUS, &running)).unwrap().is_some());
    let again = block_on(store.submit(new(Some("k"), "other"))).unwrap().unwrap();
    assert!(!again.replayed);
}

/// Changes the file as nobody should, while no daemon has it.
pub(super) fn by_hand(folder: &tempfile::TempDir, sql: &str) {
    Connection::open(file(folder)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_job_that_is_damaged_fails_and_the_others_are_taken() {
    for damage in ["x'7b'", "x'ff'", "x''", "NULL", "substr(body, 9)"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let bad = submit_told(&store, "bad");
        let good = submit(&store, "good");
        drop(store);
        by_hand(&folder, &format!("UPDATE jobs SET body = {damage} WHERE number = 1"));

        let store = open(&folder);
        let next = block_on(store.take()).unwrap();
        assert!(matches!(next, Some(NextJob::Damaged(job_id)) if job_id == bad), "{damage}");
        assert_eq!(take(&store).unwrap().job_id, good);
        assert!(take(&store).is_none());
        let status = block_on(store.status(Owner::ANONYMOUS, &bad)).unwrap().unwrap();
        assert_eq!(status.state, JobState::Failed);
        assert_eq!(status.error.as_deref(), Some("what was submitted is damaged in the daemon's store"));
        assert_eq!((status.attempt, status.started_at, status.completed_at.is_some()), (0, None, true));
        for state in [JobState::Queued, JobState::Failed] {
            let Claim::Now(mail) = block_on(store.claim()).unwrap() else { panic!("no event") };
            assert_eq!((&mail.job_id, &mail.status.state), (&bad, &state));
            block_on(store.settle(&bad, Verdict::Delivered)).unwrap();
        }
        drop(store);
        assert_eq!(block_on(open(&folder).status(Owner::ANONYMOUS, &bad)).unwrap().unwrap().state, JobState::Failed);
    }
}

#[test]
fn events_that_are_damaged_are_given_up_and_the_others_are_sent() {
    for damage in ["webhook = 'no url'", "webhook = NULL", "traceparent = x'00'", "artifacts = '{'"] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder);
        let (bad, good) = (submit_told(&store, "bad"), submit_told(&store, "good"));
        drop(store);
        by_hand(&folder, &format!("UPDATE jobs SET {damage} WHERE number = 1"));

        let store = open(&folder);
        let Claim::Now(mail) = block_on(store.claim()).unwrap() else { panic!("no event") };
        assert_eq!(mail.job_id, good, "{damage}");
        assert!(matches!(block_on(store.claim()).unwrap(), Claim::Nothing));
        // It is run all the same.
        assert_eq!(take(&store).unwrap().job_id, bad);
    }
}

#[test]
fn a_job_that_was_damaged_while_it_ran_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let bad = submit(&store, "bad");
    take(&store).unwrap();
    let damage = |db: &mut super::db::Db| db.connection.execute_batch("UPDATE jobs SET body = x'7b'");
    block_on(store.writer.run(damage)).unwrap();
    assert!(block_on(store.restart(&bad, 1)).unwrap().is_none());
    let status = block_on(store.status(Owner::ANONYMOUS, &bad)).unwrap().unwrap();
    assert_eq!((&status.state, status.attempt), (&JobState::Failed, 1));
}

/// What a store answers that owner, without ids and times, which are its own.
fn look(store: &dyn Store, owner: Owner, jobs: &[JobId]) -> Vec<String> {
    let status = |job_id| block_on(store.status(owner, job_id)).unwrap();
    let told = jobs.iter().map(status).map(|status| {
        status.map_or_else(String::new, |status| {
            let result = status.result.as_ref().map(|result| result.get().to_owned());
            let times = (status.started_at.is_some(), status.completed_at.is_some());
            format!(
                "{:?} {} {:?} {:?} {:?} {times:?}",
                status.state, status.attempt, status.position, result, status.error
            )
        })
    });
    let mut seen: Vec<_> = told.collect();
    for state in [None, Some(JobState::Queued), Some(JobState::Failed)] {
        let mut before = None;
        loop {
            let page = block_on(store.list(Query { owner, state: state.clone(), before, limit: 3 })).unwrap();
            let place =
                |job: &std::sync::Arc<crate::JobStatus>| jobs.iter().position(|job_id| *job_id == job.job_id).unwrap();
            seen.push(format!("{:?}", page.jobs.iter().map(place).collect::<Vec<_>>()));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
    }
    seen
}

/// The same is asked of both; where it is in memory is no difference.
#[test]
fn a_file_and_memory_answer_alike() {
    let owners = [Owner::ANONYMOUS, Owner::from_token(b"a token")];
    for seed in 0..10 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let (sqlite, memory) = (Sqlite::open(&file(&folder), 6, BATCH, DAY, 3).unwrap(), Memory::new(6, BATCH, DAY));
        let stores: [&dyn Store; 2] = [&sqlite, &memory];
        let mut jobs: [Vec<JobId>; 2] = [Vec::new(), Vec::new()];
        let mut whose = Vec::new();
        let mut runs: Vec<(usize, u64)> = Vec::new();
        for step in 0..60 {
            let (which, roll, text) = (random.usize(..100), random.u8(..6), "x".repeat(random.usize(1..3)));
            let owner = owners[random.usize(..2)];
            let key = random.bool().then(|| format!("key {}", random.u8(..5)));
            let model = ["a", "b", "c"][random.usize(..3)];
            let mut answers = Vec::new();
            let mut begun = None;
            for (store, jobs) in stores.iter().zip(&mut jobs) {
                answers.push(match roll {
                    0 | 1 => match block_on(store.submit(NewJob { owner, ..new_of(model, key.as_deref(), &text) }))
                        .unwrap()
                    {
                        Ok(submitted) => {
                            if !submitted.replayed {
                                jobs.push(submitted.job_id.clone());
                            }
                            let place = jobs.iter().position(|job_id| *job_id == submitted.job_id);
                            format!("{place:?} {}", submitted.replayed)
                        }
                        Err(refusal @ (SubmitError::KeyReused | SubmitError::Full)) => format!("{refusal:?}"),
                    },
                    2 => match take(*store) {
                        Some(taken) => {
                            let place = jobs.iter().position(|job_id| *job_id == taken.job_id).unwrap();
                            begun = Some((place, taken.attempt));
                            format!("{begun:?} {}", taken.submission.messages[0].as_json())
                        }
                        None => "nothing".to_owned(),
                    },
                    3 | 4 if !runs.is_empty() => {
                        let (place, attempt) = runs[which % runs.len()];
                        if roll == 3 {
                            let outcome = if which % 2 == 0 { done() } else { Outcome::Failed("no".to_owned()) };
                            block_on(store.finish(&jobs[place], attempt, outcome)).unwrap().to_string()
                        } else {
                            let taken = block_on(store.restart(&jobs[place], attempt)).unwrap();
                            begun = taken.map(|taken| (place, taken.attempt));
                            format!("{begun:?}")
                        }
                    }
                    _ if !jobs.is_empty() => match block_on(store.cancel(owner, &jobs[which % jobs.len()])).unwrap() {
                        Cancelled::Ended(status) => format!("{:?} {:?}", status.state, status.error),
                        other => format!("{other:?}"),
                    },
                    _ => String::new(),
                });
            }
            runs.extend(begun);
            whose.resize(jobs[0].len(), owner);
            assert_eq!(answers[0], answers[1], "step {step} of seed {seed}");
            for owner in owners {
                let looks = (look(&sqlite, owner, &jobs[0]), look(&memory, owner, &jobs[1]));
                assert_eq!(looks.0, looks.1, "after step {step} of seed {seed}");
                let known = looks.0.iter().zip(&whose).map(|(told, whose)| told.is_empty() == (*whose != owner));
                assert!(known.into_iter().all(|right| right), "after step {step} of seed {seed}: {looks:?}");
            }
            let progress = |store: &dyn Store, jobs: &[JobId]| -> Vec<String> {
                jobs.iter().map(|job_id| format!("{:?}", block_on(store.progress(job_id)).unwrap())).collect()
            };
            assert_eq!(progress(&sqlite, &jobs[0]), progress(&memory, &jobs[1]), "after step {step} of seed {seed}");
        }
    }
}
