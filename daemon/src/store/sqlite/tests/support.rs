//! Helpers of these tests.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use rusqlite::Connection;
use tokio_test::block_on;

use crate::JobId;
use crate::store::{IdempotencyKey, NewJob, NextJob, Outcome, Output, Sqlite, Store, StoreOptions, Taken, Wanted};

pub(super) fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("jobs.db")
}

pub(super) fn open(folder: &tempfile::TempDir) -> Sqlite {
    open_with(folder, options(100))
}

pub(super) fn open_with(folder: &tempfile::TempDir, options: StoreOptions) -> Sqlite {
    Sqlite::open(&path(folder), options).unwrap()
}

/// Batches are small, so that jobs fill several of them.
pub(super) fn options(max_queue: usize) -> StoreOptions {
    StoreOptions { batch: NonZeroUsize::new(2).unwrap(), ..StoreOptions::of_test(max_queue) }
}

pub(super) fn new_job(key: Option<&str>, text: &str) -> NewJob {
    new_job_of("m", key, text)
}

pub(super) fn new_job_of(model: &str, key: Option<&str>, text: &str) -> NewJob {
    let body = format!(r#"{{"model":"{model}","messages":[{{"content":"{text}"}}]}}"#);
    let key = key.map(|key| IdempotencyKey { text: key.as_bytes().into(), digest: [text.len().to_le_bytes()[0]; 32] });
    NewJob { key, ..NewJob::of_test(&body) }
}

pub(super) fn submit(store: &dyn Store, text: &str) -> JobId {
    block_on(store.submit(new_job(None, text))).unwrap().unwrap().job_id
}

/// Submits a job with a callback URL.
pub(super) fn submit_with_webhook(store: &dyn Store, text: &str) -> JobId {
    let new = NewJob { webhook: Some("http://h/".parse().unwrap()), ..new_job(None, text) };
    block_on(store.submit(new)).unwrap().unwrap().job_id
}

pub(super) fn take(store: &dyn Store) -> Option<Taken> {
    take_wanted(store, Wanted::any())
}

pub(super) fn take_wanted(store: &dyn Store, wanted: Wanted) -> Option<Taken> {
    match block_on(store.take(wanted)).unwrap()? {
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

/// Changes the file while no store has it open.
pub(super) fn execute_sql(folder: &tempfile::TempDir, sql: &str) {
    Connection::open(path(folder)).unwrap().execute_batch(sql).unwrap();
}
