//! A daemon whose file has many jobs.

use std::path::Path;
use std::time::Duration;

use foreman_client::JobState;
use foreman_client::api::{Api, ListJobs, Transport};
use foreman_daemon::{Daemon, Echo};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::load::{api, idle, rate, request};

/// How long submissions are measured.
const SPAN: Duration = Duration::from_secs(5);

pub(super) async fn stored(jobs: u32) {
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
        let rate = rate(daemon, 16, SPAN).await;
        println!("{goal:>10} {rate:>14.0} {:>12} {resident:>12} {start:>10}", on_disk(folder.path()));
        // The measurement has queued jobs. They run, and count as stored.
        there += empty(&path).await;
    }
}

/// Runs this many jobs to their end.
async fn fill(path: &Path, jobs: u32) {
    let daemon =
        Daemon::builder().backend(Echo::new()).workers(64).max_queue(usize::MAX).store(path).start().await.unwrap();
    let api = api(&daemon);
    let mut submitters = JoinSet::new();
    for submitter in 0..256 {
        let api = api.clone();
        let share = jobs / 256 + u32::from(submitter < jobs % 256);
        submitters.spawn(async move {
            for _ in 0..share {
                api.clone().oneshot(request()).await.unwrap();
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
    settled(&api(&daemon)).await;
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
