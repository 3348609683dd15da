//! Several clients of one daemon, of which a discovery inserts and removes some.

use tower::discover::Change;

use super::{discovered, settle};
use crate::support::{PoolDaemon, bounded_paused, request, seconds};

/// The operator stops the client of a daemon, for the maintenance of its machine, and removes it.
#[tokio::test(start_paused = true)]
async fn daemon_that_returns_has_its_new_client() {
    let a = PoolDaemon::new("a", seconds(20));
    let (pool, changes) = discovered();
    let first = a.client().await;
    changes.send(Ok(Change::Insert(1, first.clone()))).unwrap();
    settle().await;
    bounded_paused(pool.submit(request())).await.unwrap();
    first.shutdown(seconds(1)).await;
    changes.send(Ok(Change::Remove(1))).unwrap();
    tokio::time::sleep(seconds(300)).await;
    changes.send(Ok(Change::Insert(2, a.client().await))).unwrap();
    settle().await;
    bounded_paused(pool.submit(request())).await.unwrap();
    assert_eq!(pool.clients().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn client_that_is_stopped_after_its_replacement_is_not_used() {
    let a = PoolDaemon::new("a", seconds(20));
    let (pool, changes) = discovered();
    let (old, other) = (a.client().await, a.client().await);
    for (key, client) in [(1, old.clone()), (1, a.client().await), (2, other.clone())] {
        changes.send(Ok(Change::Insert(key, client))).unwrap();
    }
    settle().await;
    old.shutdown(seconds(1)).await;
    bounded_paused(pool.submit(request())).await.unwrap();
    // The newest one is used, and the one before it once that is stopped or removed.
    assert_eq!(other.stats().waits.started, 1);
    other.shutdown(seconds(1)).await;
    bounded_paused(pool.submit(request())).await.unwrap();
    changes.send(Ok(Change::Remove(2))).unwrap();
    settle().await;
    bounded_paused(pool.submit(request())).await.unwrap();
    assert_eq!(other.stats().waits.started, 1);
}

/// A wait stays at its client, and the pool answers for it.
#[tokio::test(start_paused = true)]
async fn shutdown_of_the_pool_ends_the_waits_of_a_replaced_client() {
    let a = PoolDaemon::new("a", seconds(20));
    let (pool, changes) = discovered();
    changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    settle().await;
    let waiting = tokio::spawn(pool.submit(request()));
    settle().await;
    for _ in 0..3 {
        changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    }
    settle().await;
    assert_eq!(pool.clients().len(), 1);
    let running = bounded_paused(pool.shutdown(seconds(1))).await;
    assert_eq!(running.iter().map(ToString::to_string).collect::<Vec<_>>(), ["http://a.test/jobs/1"]);
    assert!(bounded_paused(waiting).await.unwrap().unwrap_err().is_shutting_down());
}
