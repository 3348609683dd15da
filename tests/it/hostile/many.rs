//! Many waits beside one.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::daemon::{SlowDaemon, id};

#[tokio::test(start_paused = true)]
async fn rarely_polled_wait_ends_beside_busy_ones() {
    let daemon = SlowDaemon::default();
    let client = daemon.polling_client().await;
    // They keep the queue of routine polls 10 s long.
    let busy: Vec<_> = (0..2_000)
        .map(|job| {
            let client = client.clone();
            tokio::spawn(async move { client.wait(&id(job)).await })
        })
        .collect();
    sleep(Duration::from_secs(60)).await;
    let done = id("done");
    let mut rare = Box::pin(client.wait(&done));
    let mut rounds = 0;
    while rare.as_mut().now_or_never().is_none() {
        rounds += 1;
        assert!(rounds < 10, "not polled by the client in {rounds} rounds");
        sleep(Duration::from_secs(20)).await;
    }
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn polls_stay_within_rate() {
    let daemon = SlowDaemon::default();
    let client = daemon.polling_client().await;
    let waits: Vec<_> = (0..10_000)
        .map(|job| {
            let client = client.clone();
            tokio::spawn(async move { client.wait(&id(job)).await })
        })
        .collect();
    sleep(Duration::from_secs(60)).await;
    // 200 a second, and a burst of as many.
    let polls = daemon.polls();
    assert!((11_500..=12_300).contains(&polls), "{polls}");
    daemon.done.store(true, Relaxed);
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
}
