//! The process that kills the daemon and checks its jobs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foreman_client::JobState;
use http::StatusCode;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::killed::{Hooks, Received, start, status, submit};

const SUBMITTERS: usize = 16;

/// The idempotency keys, and the job of each key that got a 202.
#[derive(Default)]
struct Known {
    jobs: HashMap<String, String>,
    /// Sent, without a response so far.
    open: HashSet<String>,
    keys: u64,
    resubmitted: usize,
}

struct Paths {
    store: PathBuf,
    log: PathBuf,
}

pub(crate) async fn rounds() {
    let read = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (count, seed) = (read("CRASH_ROUNDS").unwrap_or(20), read("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..)));
    println!("{count} rounds, CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths { store: folder.path().join("jobs.db"), log: folder.path().join("log") };
    let (hooks, hook) = Hooks::start("127.0.0.1", |status| Some(status.state.to_string())).await;
    let known = Arc::new(Mutex::new(Known::default()));
    let mut ended_jobs = HashSet::new();
    let mut lost_responses = 0;
    for _ in 0..count {
        let (mut child, url) = start([paths.store.as_ref(), paths.log.as_ref()]).await;
        let enough = known.lock().await.jobs.len() + random.usize(1..200);
        load(&url, &hook, &known, enough).await;
        child.kill().await.unwrap();
        lost_responses += known.lock().await.open.len();
        check_runs(&paths, &mut ended_jobs);
    }

    let (mut child, url) = start([paths.store.as_ref(), paths.log.as_ref()]).await;
    let mut known = known.lock().await;
    let open: Vec<String> = known.open.drain().collect();
    for key in open {
        let (status, job) = submit(&url, &hook, &key).await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED);
        known.jobs.insert(key, job);
    }
    for job in known.jobs.values() {
        // The job exists. It need not be done yet.
        status(&url, job).await;
    }
    let every_state = |received: &Received| {
        let has_all = |job: &&String| received.get(*job).is_some_and(|states| states.len() == 3);
        let missing = known.jobs.values().find(|job| !has_all(job));
        missing.map_or(Ok(()), |job| Err(format!("missing states of {job}: {:?}", received.get(job))))
    };
    hooks.wait(every_state).await;
    for (key, job) in &known.jobs {
        assert_eq!(submit(&url, &hook, key).await.unwrap().1, *job, "key {key} returns another job");
        assert_eq!(status(&url, job).await.state, JobState::Done, "{job}");
    }
    child.kill().await.unwrap();
    check_runs(&paths, &mut ended_jobs);
    let jobs: HashSet<&String> = known.jobs.values().collect();
    assert_eq!(jobs.len(), known.jobs.len(), "two keys have the same job");
    assert_eq!(ended_jobs.len(), jobs.len(), "there are jobs without a submission");
    assert!(jobs.len() as u64 >= count, "no jobs were submitted");
    println!(
        "{} jobs, none lost; {lost_responses} responses lost, {} submissions repeated; every state of each job delivered",
        jobs.len(),
        known.resubmitted
    );
    if count >= 20 {
        assert!(lost_responses > 0, "no submission was in flight at any kill: the test has shown nothing");
    }
}

/// Submits until `enough` jobs are known, beginning with the submissions whose responses were lost. Submissions that are still
/// in flight are dropped, like their responses.
async fn load(url: &str, hook: &str, known: &Arc<Mutex<Known>>, enough: usize) {
    let again: Vec<String> = known.lock().await.open.iter().cloned().collect();
    let again = Arc::new(Mutex::new(again));
    let mut submitters = JoinSet::new();
    for _ in 0..SUBMITTERS {
        let (url, hook, known, again) = (url.to_owned(), hook.to_owned(), Arc::clone(known), Arc::clone(&again));
        submitters.spawn(async move {
            loop {
                let key = match again.lock().await.pop() {
                    Some(key) => {
                        known.lock().await.resubmitted += 1;
                        key
                    }
                    None => {
                        let mut known = known.lock().await;
                        known.keys += 1;
                        let key = format!("key-{}", known.keys);
                        known.open.insert(key.clone());
                        key
                    }
                };
                let Some((status, job)) = submit(&url, &hook, &key).await else { return };
                assert_eq!(status, StatusCode::ACCEPTED);
                let mut known = known.lock().await;
                known.open.remove(&key);
                known.jobs.insert(key, job);
                if known.jobs.len() >= enough {
                    return;
                }
            }
        });
    }
    submitters.join_next().await.unwrap().unwrap();
    // The other submitters have requests in flight, which the kill interrupts.
    submitters.abort_all();
}

/// Checks that no job ran again whose end was stored before the previous kill. Then adds the jobs whose end is stored now.
fn check_runs(paths: &Paths, ended_jobs: &mut HashSet<String>) {
    let log = std::fs::read_to_string(&paths.log).unwrap_or_default();
    std::fs::write(&paths.log, "").unwrap();
    for job in log.lines() {
        assert!(!ended_jobs.contains(job), "{job} ran again after its end was stored");
    }
    ended_jobs.extend(ended(&paths.store));
}

/// Reads the ended jobs from the file.
fn ended(store: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(store).unwrap();
    let mut jobs = connection.prepare("SELECT id FROM jobs WHERE state IN ('done', 'failed')").unwrap();
    jobs.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}
