//! The process that kills the daemon and checks its jobs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use foreman_client::api::{BaseUrl, Transport};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::child::SERVE;
use super::hooks::Hooks;

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
    let (hooks, hook) = Hooks::start().await;
    let known = Arc::new(Mutex::new(Known::default()));
    let mut ended_jobs = HashSet::new();
    let mut lost_responses = 0;
    for _ in 0..count {
        let (mut child, url) = start(&paths).await;
        let enough = known.lock().await.jobs.len() + random.usize(1..200);
        load(&url, &hook, &known, enough).await;
        child.kill().await.unwrap();
        lost_responses += known.lock().await.open.len();
        check_runs(&paths, &mut ended_jobs);
    }

    let (mut child, url) = start(&paths).await;
    let mut known = known.lock().await;
    let open: Vec<String> = known.open.drain().collect();
    for key in open {
        let (status, job) = submit(&url, &hook, &key).await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED);
        known.jobs.insert(key, job);
    }
    for job in known.jobs.values() {
        // The job exists. It need not be done yet.
        state(&url, job).await;
    }
    hooks.all_received(known.jobs.values()).await;
    for (key, job) in &known.jobs {
        assert_eq!(submit(&url, &hook, key).await.unwrap().1, *job, "key {key} returns another job");
        assert_eq!(state(&url, job).await, "done", "{job}");
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

async fn start(paths: &Paths) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .args([&paths.store, &paths.log])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the daemon did not start"));
    (child, url)
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

/// Submits, and returns the status and the job's id; `None` without a response.
async fn submit(url: &str, hook: &str, key: &str) -> Option<(StatusCode, String)> {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{hook}"}}"#);
    let request = Request::post(format!("{url}/jobs"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::from(body))
        .unwrap();
    let (status, body) = send(url, request).await?;
    let job = body["job_id"].as_str().unwrap_or_else(|| panic!("{status} {body}"));
    Some((status, job.to_owned()))
}

async fn state(url: &str, job: &str) -> String {
    let request = Request::get(format!("{url}/jobs/{job}")).body(Full::default()).unwrap();
    let (status, body) = send(url, request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{job} is lost");
    body["state"].as_str().unwrap().to_owned()
}

async fn send(url: &str, request: Request<Full<Bytes>>) -> Option<(StatusCode, serde_json::Value)> {
    let base: BaseUrl = url.parse().unwrap();
    let response = Transport::new(&base).unwrap().oneshot(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap()))
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
