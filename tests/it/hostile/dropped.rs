//! Waits that end before their poll goes out give their moment back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, timeout};

use super::daemon::{SlowDaemon, id};
use crate::support::request;

#[tokio::test(start_paused = true)]
async fn dropped_waits_do_not_delay_the_next() {
    let daemon = SlowDaemon::default();
    let client = daemon.polling_client().await;
    let wait = |job: u64| {
        let client = client.clone();
        Box::pin(async move { client.wait(&id(job)).await })
    };
    let mut waits: FuturesUnordered<_> = (0..20_000).map(wait).collect();
    // Each is polled once, and then all callers leave.
    for _ in 0..100 {
        assert!(waits.next().now_or_never().is_none());
    }
    drop(waits);
    let started = Instant::now();
    client.wait(&id("done")).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waits_with_short_timeouts_make_progress() {
    let daemon = SlowDaemon::default();
    let client = daemon.polling_client().await;
    let finished = Arc::new(AtomicU64::new(0));
    for _ in 0..2_000 {
        let (client, finished) = (client.clone(), Arc::clone(&finished));
        tokio::spawn(async move {
            let request = request();
            // As a `Timeout` below a `Reattach` does.
            while timeout(Duration::from_secs(2), client.submit(request.clone())).await.is_err() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            finished.fetch_add(1, Relaxed);
        });
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    daemon.done.store(true, Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(finished.load(Relaxed), 2_000);
}
