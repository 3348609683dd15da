//! The event stream of the embedded daemon, on real sockets.

use std::time::Duration;

use foreman_client::{Client, Error, JobResult};
use foreman_daemon::Daemon;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::raw;
use crate::support::{bounded, gated_daemon, polling_client, request};

fn submit(client: &Client, jobs: usize) -> Vec<JoinHandle<Result<JobResult, Error>>> {
    (0..jobs)
        .map(|_| client.clone())
        .map(|client| tokio::spawn(async move { client.submit(request()).await }))
        .collect()
}

/// Waits until the daemon has so many event streams.
async fn streams(daemon: &Daemon, open: usize) {
    let expected = format!("foreman_event_streams {open}\n");
    let opened = async {
        while !raw::get(daemon, "/metrics", &[]).await.body.contains(&expected) {
            tokio::task::yield_now().await;
        }
    };
    bounded(opened).await;
}

#[tokio::test]
async fn many_waits_end_by_one_stream_without_polls() {
    const JOBS: usize = 500;
    let (gate, daemon) = gated_daemon(Daemon::builder().workers(8)).await;
    let client = polling_client(&daemon).await;
    let first = submit(&client, 1);
    streams(&daemon, 1).await;
    gate.open(1);
    bounded(join_all(first)).await;
    let before = daemon.stats();

    let waits = submit(&client, JOBS);
    gate.open(JOBS);
    for result in bounded(join_all(waits)).await {
        assert_eq!(result.unwrap().unwrap().deserialize::<String>().unwrap(), "passed");
    }
    let (stats, daemon_stats) = (client.stats().waits, daemon.stats());
    assert_eq!((daemon_stats.polls - before.polls, daemon_stats.stream_resets), (0, 0), "{stats:?}");
    assert!(stats.finished_by_event_stream >= JOBS as u64, "{stats:?}");
    streams(&daemon, 1).await;
    drop(client);
    streams(&daemon, 0).await;
}

#[tokio::test]
async fn replicas_hear_of_their_own_jobs_alone() {
    let (gate, daemon) = gated_daemon(Daemon::builder().workers(8)).await;
    let clients = [polling_client(&daemon).await, polling_client(&daemon).await];
    let first = clients.each_ref().map(|client| submit(client, 1));
    streams(&daemon, 2).await;
    gate.open(2);
    bounded(join_all(first.into_iter().flatten())).await;
    let before = daemon.stats().stream_events;
    gate.open(20);
    bounded(join_all(clients.each_ref().map(|client| submit(client, 10)).into_iter().flatten())).await;
    // At most three events for each job, each to one client.
    let events = daemon.stats().stream_events - before;
    assert!((20..=60).contains(&events), "{events}");
}

#[tokio::test]
async fn waits_survive_a_restart_of_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || Daemon::builder().store(folder.path().join("jobs.db")).drain(Duration::ZERO);
    let (_gate, daemon) = gated_daemon(builder()).await;
    let (client, address) = (polling_client(&daemon).await, daemon.local_addr());
    let waits = submit(&client, 10);
    streams(&daemon, 1).await;
    while daemon.stats().accepted < 10 {
        tokio::task::yield_now().await;
    }
    bounded(daemon.shutdown()).await;
    let (gate, daemon) = gated_daemon(builder().listen(address)).await;
    gate.open(10);
    for result in bounded(join_all(waits)).await {
        assert_eq!(result.unwrap().unwrap().deserialize::<String>().unwrap(), "passed");
    }
    assert_eq!(daemon.stats().accepted, 0);
}
