//! The one that kills, and checks.

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

/// Keys in the order of their submissions, and the job of each that was answered with a 202.
#[derive(Default)]
struct Known {
    jobs: HashMap<String, String>,
    /// Sent, and without an answer so far.
    open: HashSet<String>,
    keys: u64,
    submitted_again: usize,
}

struct Place {
    store: PathBuf,
    log: PathBuf,
}

pub(crate) async fn rounds() {
    let read = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (count, seed) = (read("CRASH_ROUNDS").unwrap_or(20), read("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..)));
    println!("{count} rounds, CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let place = Place { store: folder.path().join("jobs.db"), log: folder.path().join("log") };
    let (hooks, hook) = Hooks::start().await;
    let known = Arc::new(Mutex::new(Known::default()));
    let mut recorded = HashSet::new();
    let mut lost_answers = 0;
    for _ in 0..count {
        let (mut child, url) = start(&place).await;
        let enough = known.lock().await.jobs.len() + random.usize(1..200);
        load(&url, &hook, &known, enough).await;
        child.kill().await.unwrap();
        lost_answers += known.lock().await.open.len();
        check_runs(&place, &mut recorded);
    }

    let (mut child, url) = start(&place).await;
    let mut known = known.lock().await;
    let open: Vec<String> = known.open.drain().collect();
    for key in open {
        let (status, job) = submit(&url, &hook, &key).await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED);
        known.jobs.insert(key, job);
    }
    for job in known.jobs.values() {
        // Not yet whether it is done.
        state(&url, job).await;
    }
    hooks.all_told(known.jobs.values()).await;
    for (key, job) in &known.jobs {
        assert_eq!(submit(&url, &hook, key).await.unwrap().1, *job, "the key {key} has another job");
        assert_eq!(state(&url, job).await, "done", "{job}");
    }
    child.kill().await.unwrap();
    check_runs(&place, &mut recorded);
    let jobs: HashSet<&String> = known.jobs.values().collect();
    assert_eq!(jobs.len(), known.jobs.len(), "two keys have one job");
    assert_eq!(recorded.len(), jobs.len(), "there are jobs that nobody submitted");
    assert!(jobs.len() as u64 >= count, "nothing happened");
    println!(
        "{} jobs, none lost; {lost_answers} answers lost, {} submissions repeated; every state of each job told",
        jobs.len(),
        known.submitted_again
    );
    if count >= 20 {
        assert!(lost_answers > 0, "no submission was under way at any kill: nothing was shown");
    }
}

async fn start(place: &Place) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .args([&place.store, &place.log])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the daemon did not start"));
    (child, url)
}

/// Submits, those first whose answer was lost, until that many jobs are known. Then some submissions are still under way: they
/// are dropped, as their answers would be.
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
                        known.lock().await.submitted_again += 1;
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
    // The others have sent, and go on until the daemon is killed.
    submitters.abort_all();
}

/// The answer to a submission and its job; `None` if there was none.
async fn submit(url: &str, hook: &str, key: &str) -> Option<(StatusCode, String)> {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{hook}"}}"#);
    let request = Request::post(format!("{url}/jobs"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::from(body))
        .unwrap();
    let (status, answer) = send(url, request).await?;
    let job = answer["job_id"].as_str().unwrap_or_else(|| panic!("{status} {answer}"));
    Some((status, job.to_owned()))
}

async fn state(url: &str, job: &str) -> String {
    let request = Request::get(format!("{url}/jobs/{job}")).body(Full::default()).unwrap();
    let (status, answer) = send(url, request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{job} is lost");
    answer["state"].as_str().unwrap().to_owned()
}

async fn send(url: &str, request: Request<Full<Bytes>>) -> Option<(StatusCode, serde_json::Value)> {
    let base: BaseUrl = url.parse().unwrap();
    let response = Transport::new(&base).unwrap().oneshot(request).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap()))
}

/// No job was run whose end had been recorded at the kill before; then notes whose end is recorded now.
fn check_runs(place: &Place, recorded: &mut HashSet<String>) {
    let log = std::fs::read_to_string(&place.log).unwrap_or_default();
    std::fs::write(&place.log, "").unwrap();
    for job in log.lines() {
        assert!(!recorded.contains(job), "{job} was run again after its end had been recorded");
    }
    recorded.extend(ended(&place.store));
}

/// What the file says, read as anybody could.
fn ended(store: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(store).unwrap();
    let mut jobs = connection.prepare("SELECT id FROM jobs WHERE state IN ('done', 'failed')").unwrap();
    jobs.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}
