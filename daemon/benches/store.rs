//! The cost of storing jobs: submissions per second to a daemon with a file, compared with a daemon in memory and with a plain
//! loop of insert and sync, in the same run.
//!
//! ```text
//! cargo bench --bench store                 # 1, 16 and 256 concurrent submitters
//! cargo bench --bench store -- stored 1000000 # with this many stored jobs: size, memory, start, submissions
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops if it fails")]

use std::path::Path;
use std::time::Duration;

use foreman_client::api::{Api, BaseUrl, ListJobs, Transport};
use foreman_client::{BoxError, JobState, SubmitRequest};
use foreman_daemon::{Backend, Builder, Chat, ChatResponse, Daemon, Echo};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{ServiceExt as _, service_fn};

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(5);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.next().as_deref() {
        Some("stored") => runtime.block_on(stored(arguments.next().unwrap().parse().unwrap())),
        _ => runtime.block_on(submitters()),
    }
}

/// Jobs never end, so that only submissions are measured.
fn idle() -> Builder {
    let never = service_fn(|_: Chat| std::future::pending::<Result<ChatResponse, BoxError>>());
    Daemon::builder().backend(Backend::new(never)).max_queue(usize::MAX).drain(Duration::ZERO)
}

async fn submitters() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = baseline(&folder.path().join("baseline.db"));
    println!("{:>10} {:>12} {:>12} {:>12} {:>12}", "submitters", "file 1/s", "memory 1/s", "file/loop", "file/memory");
    for at_once in [1, 16, 256] {
        let store = folder.path().join(format!("{at_once}.db"));
        let file = rate(idle().store(store).start().await.unwrap(), at_once).await;
        let memory = rate(idle().start().await.unwrap(), at_once).await;
        println!("{at_once:>10} {file:>12.0} {memory:>12.0} {:>12.1} {:>12.2}", file / baseline, file / memory);
    }
    println!("loop of insert and sync: {baseline:.0} 1/s");
}

/// Submissions per second.
async fn rate(daemon: Daemon, at_once: usize) -> f64 {
    let base: BaseUrl = daemon.url().parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let until = Instant::now() + SPAN;
    let mut submitters = JoinSet::new();
    for _ in 0..at_once {
        let api = api.clone();
        submitters.spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < until {
                let request = SubmitRequest::builder("m").user("Why is the sky blue?").build().unwrap();
                api.clone().oneshot(request).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let started = Instant::now();
    let total: u32 = submitters.join_all().await.into_iter().sum();
    let rate = f64::from(total) / started.elapsed().as_secs_f64();
    daemon.shutdown().await;
    rate
}

/// Inserts per second with one sync each, the baseline of the disk.
fn baseline(path: &Path) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, body TEXT)",
        )
        .unwrap();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#;
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < SPAN {
        connection.prepare_cached("INSERT INTO t (body) VALUES (?)").unwrap().execute([body]).unwrap();
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}

async fn stored(jobs: u32) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let mut there = 0;
    println!(
        "{:>10} {:>14} {:>12} {:>12} {:>10}",
        "stored", "submissions/s", "on disk MiB", "resident MiB", "start ms"
    );
    for goal in [1_000, jobs] {
        fill(&path, goal.saturating_sub(there)).await;
        there = goal;
        let started = Instant::now();
        let daemon = idle().store(&path).start().await.unwrap();
        let start = started.elapsed().as_millis();
        let resident = resident();
        let rate = rate(daemon, 16).await;
        println!("{goal:>10} {rate:>14.0} {:>12} {resident:>12} {start:>10}", on_disk(folder.path()));
        // The measurement has queued jobs. They run, and count as stored.
        there += empty(&path).await;
    }
}

/// Runs this many jobs to their end.
async fn fill(path: &Path, jobs: u32) {
    let daemon =
        Daemon::builder().backend(Echo::new()).workers(64).max_queue(usize::MAX).store(path).start().await.unwrap();
    let base: BaseUrl = daemon.url().parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    let mut submitters = JoinSet::new();
    for submitter in 0..256 {
        let api = api.clone();
        let share = jobs / 256 + u32::from(submitter < jobs % 256);
        submitters.spawn(async move {
            for _ in 0..share {
                let request = SubmitRequest::builder("m").user("Why is the sky blue?").build().unwrap();
                api.clone().oneshot(request).await.unwrap();
            }
        });
    }
    submitters.join_all().await;
    settled(&api).await;
    daemon.shutdown().await;
}

/// Runs the queued jobs to their end, and returns how many there were.
async fn empty(path: &Path) -> u32 {
    let daemon = Daemon::builder().backend(Echo::new()).workers(64).store(path).start().await.unwrap();
    let base: BaseUrl = daemon.url().parse().unwrap();
    let api = Api::new(base.clone(), Transport::new(&base).unwrap());
    settled(&api).await;
    let count = daemon.stats().executions.try_into().unwrap();
    daemon.shutdown().await;
    count
}

/// Waits until no job is queued or running.
async fn settled(api: &Api<Transport>) {
    for state in [JobState::Queued, JobState::Running] {
        loop {
            let page = api.clone().oneshot(ListJobs::default().state(state.clone()).limit(1)).await.unwrap();
            if page.jobs.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn on_disk(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() / (1024 * 1024)
}

/// The resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or_default() / 1024
}
