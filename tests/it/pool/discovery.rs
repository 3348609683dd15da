//! Daemons that are added and removed.

use std::convert::Infallible;

use foreman_client::Pool;
use futures_util::stream;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::Service as _;
use tower::discover::Change;

use super::{discovered, settle};
use crate::support::{PoolDaemon, bounded_paused, request, seconds};

fn daemons() -> [PoolDaemon; 2] {
    ["a", "b"].map(|name| PoolDaemon::new(name, seconds(20)))
}

#[tokio::test(start_paused = true)]
async fn pool_is_ready_with_the_first_daemon_and_never_if_none_will_come() {
    let [a, _] = daemons();
    let (pool, changes) = discovered();
    let mut waiting = task::spawn(pool.clone());
    assert_pending!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    settle().await;
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    changes.send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    assert_pending!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    drop(changes);
    settle().await;
    assert!(waiting.is_woken());
    let error = assert_ready_err!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    assert_eq!(error.to_string(), "the pool has no daemons");
}

#[tokio::test(start_paused = true)]
async fn list_of_tower_is_a_discovery() {
    let [a, b] = daemons();
    let clients =
        vec![Ok::<_, Infallible>(Change::Insert("a", a.client().await)), Ok(Change::Insert("b", b.client().await))];
    let pool = Pool::builder().discover(stream::iter(clients)).unwrap();
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 2);
    bounded_paused(pool.submit(request())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn removed_daemon_gets_no_new_jobs_and_its_waits_go_on() {
    let [a, b] = daemons();
    let (pool, changes) = discovered();
    changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    settle().await;
    let first = request();
    let waiting = tokio::spawn(pool.submit(first.clone()));
    settle().await;
    changes.send(Ok(Change::Insert(2, b.client().await))).unwrap();
    changes.send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 1);
    for _ in 0..5 {
        bounded_paused(pool.submit(request())).await.unwrap();
    }
    assert_eq!((a.accepted(), b.accepted()), (1, 5));
    let result = bounded_paused(waiting).await.unwrap().unwrap();
    // A retry long after that attaches too, and finds the result.
    assert_eq!(bounded_paused(pool.submit(first)).await.unwrap().job_handle(), result.job_handle());
}

#[tokio::test(start_paused = true)]
async fn retry_attaches_at_a_removed_daemon_for_ten_minutes() {
    let [a, b] = daemons();
    let (pool, changes) = discovered();
    changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    settle().await;
    let (kept, forgotten) = (request(), request());
    for request in [&kept, &forgotten] {
        let _ = tokio::time::timeout(seconds(1), pool.submit(request.clone())).await;
    }
    changes.send(Ok(Change::Insert(2, b.client().await))).unwrap();
    changes.send(Ok(Change::Remove(1))).unwrap();
    tokio::time::sleep(seconds(590)).await;
    let result = bounded_paused(pool.submit(kept)).await.unwrap();
    assert_eq!((result.daemon(), pool.clients().len()), (Some(a.url()), 2));
    tokio::time::sleep(seconds(601)).await;
    assert_eq!(pool.clients().len(), 1);
    let error = bounded_paused(pool.submit(forgotten)).await.unwrap_err();
    assert!(error.is_daemon_gone() && error.daemon() == Some(a.url()), "{error}");
    assert_eq!(b.posts(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_keys_of_one_daemon_are_one_daemon_until_both_are_removed() {
    let [a, _] = daemons();
    let (pool, changes) = discovered();
    for key in [1, 2] {
        changes.send(Ok(Change::Insert(key, a.client().await))).unwrap();
    }
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 1);
    changes.send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 1);
    changes.send(Ok(Change::Remove(2))).unwrap();
    changes.send(Ok(Change::Remove(2))).unwrap();
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn key_that_is_inserted_again_replaces_its_daemon() {
    let [a, b] = daemons();
    let (pool, changes) = discovered();
    for client in [a.client().await, a.client().await, b.client().await] {
        changes.send(Ok(Change::Insert(1, client))).unwrap();
    }
    settle().await;
    let urls: Vec<_> = pool.stats().daemons.into_iter().map(|daemon| daemon.url).collect();
    assert_eq!(urls, ["http://b.test"]);
}

#[tokio::test(start_paused = true)]
async fn failing_discovery_is_polled_again_after_a_second() {
    let [a, _] = daemons();
    let (pool, changes) = discovered();
    changes.send(Err("no such name".into())).unwrap();
    changes.send(Ok(Change::Insert(1, a.client().await))).unwrap();
    settle().await;
    assert_eq!(pool.stats().daemons.len(), 0);
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(pool.stats().daemons.len(), 1);
}

/// The list of models was requested for as long as the pool was there.
#[tokio::test(start_paused = true)]
async fn task_of_a_dropped_pool_ends() {
    let [a, _] = daemons();
    let pool = Pool::from_clients([a.client().await]).unwrap();
    let wait = pool.submit(request());
    tokio::time::sleep(seconds(100)).await;
    drop(pool);
    let lists = a.lists();
    assert!(lists >= 3, "{lists}");
    tokio::time::sleep(seconds(100)).await;
    assert!(a.lists() > lists, "a wait is a user of the pool");
    drop(wait);
    let lists = a.lists();
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(a.lists(), lists);
}

#[tokio::test(start_paused = true)]
async fn daemons_added_and_removed_under_load_lose_no_wait() {
    let daemons: Vec<_> = (0..6).map(|at| PoolDaemon::new(&format!("d{at}"), seconds(2))).collect();
    let (pool, changes) = discovered();
    let mut random = fastrand::Rng::with_seed(11);
    changes.send(Ok(Change::Insert(0, daemons[0].client().await))).unwrap();
    let mut waits = Vec::new();
    let mut present = [true, false, false, false, false, false];
    for _ in 0..300 {
        waits.push(tokio::spawn(pool.submit(request())));
        let at = random.usize(1..6);
        let key = u8::try_from(at).unwrap();
        let change = match present[at] {
            true => Change::Remove(key),
            false => Change::Insert(key, daemons[at].client().await),
        };
        present[at] = !present[at];
        changes.send(Ok(change)).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(random.u64(0..700))).await;
    }
    for wait in waits {
        bounded_paused(wait).await.unwrap().unwrap();
    }
    assert_eq!(daemons.iter().map(PoolDaemon::accepted).sum::<usize>(), 300);
}
