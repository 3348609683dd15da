//! Which daemon a job goes to.

use foreman_client::Pool;

use super::{pool, request_for, settle};
use crate::support::{PoolDaemon, bounded_paused, request, seconds};

#[tokio::test(start_paused = true)]
async fn job_goes_to_a_daemon_that_lists_its_model() {
    let (a, b) =
        (PoolDaemon::new("a", seconds(1)).models(&["x"]), PoolDaemon::new("b", seconds(1)).models(&["y:latest"]));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    let jobs: Vec<_> = (0..20).map(|_| tokio::spawn(pool.submit(request_for("y")))).collect();
    for job in jobs {
        assert_eq!(bounded_paused(job).await.unwrap().unwrap().daemon(), Some("http://b.test"));
    }
    assert_eq!((a.posts(), b.accepted()), (0, 20));
}

#[tokio::test(start_paused = true)]
async fn daemon_whose_list_is_unknown_may_have_any_model() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)).models(&["x"]), PoolDaemon::new("b", seconds(1)));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    bounded_paused(pool.submit(request_for("y"))).await.unwrap();
    assert_eq!((a.posts(), b.accepted()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn model_that_no_daemon_lists_goes_to_any() {
    let a = PoolDaemon::new("a", seconds(1)).models(&["x"]);
    let pool = pool([&a]).await;
    settle().await;
    bounded_paused(pool.submit(request_for("y"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn lists_of_models_are_refreshed() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)).models(&["x"]), PoolDaemon::new("b", seconds(1)).models(&["x"]));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    a.set_models(&["x", "new"]);
    tokio::time::sleep(seconds(34)).await;
    let before = b.posts();
    for _ in 0..10 {
        bounded_paused(pool.submit(request_for("new"))).await.unwrap();
    }
    assert_eq!((a.accepted(), b.posts()), (10, before));
    assert!(pool.stats().daemons.iter().all(|daemon| daemon.knows_models));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_count_by_the_time_that_they_take() {
    let (fast, slow) = (PoolDaemon::new("fast", seconds(1)), PoolDaemon::new("slow", seconds(4)));
    let pool = Pool::from_clients([fast.client_with_webhooks().await, slow.client_with_webhooks().await]).unwrap();
    settle().await;
    // It learns the times.
    let jobs: Vec<_> = (0..20).map(|_| tokio::spawn(pool.submit(request()))).collect();
    for job in jobs {
        bounded_paused(job).await.unwrap().unwrap();
    }
    let before = (fast.accepted(), slow.accepted());
    let jobs: Vec<_> = (0..50).map(|_| tokio::spawn(pool.submit(request()))).collect();
    settle().await;
    let sent = (fast.accepted() - before.0, slow.accepted() - before.1);
    assert_eq!(sent, (40, 10), "of 50 with speeds 4 to 1");
    let stats = pool.stats();
    assert_eq!(stats.daemons.iter().map(|daemon| daemon.waiting).sum::<u32>(), 50);
    for job in jobs {
        bounded_paused(job).await.unwrap().unwrap();
    }
    assert!(pool.stats().daemons.iter().all(|daemon| daemon.waiting == 0 && daemon.work.is_zero()));
}

#[tokio::test(start_paused = true)]
async fn model_stays_where_it_is_loaded_until_the_queue_is_longer_than_a_load() {
    let daemons = ["a", "b", "c"].map(|name| PoolDaemon::with_load(name, seconds(1), seconds(20)));
    let pool = pool(&daemons).await;
    settle().await;
    for round in 0..30 {
        bounded_paused(pool.submit(request_for(["x", "y"][round % 2]))).await.unwrap();
    }
    let loads: usize = daemons.iter().map(PoolDaemon::loads).sum();
    assert!(loads <= 5, "{loads} loads for 30 jobs of two models");
    // More than a load is worth.
    let jobs: Vec<_> = (0..150).map(|_| tokio::spawn(pool.submit(request_for("x")))).collect();
    settle().await;
    assert!(daemons.iter().filter(|daemon| daemon.accepted() > 35).count() >= 2, "the preference is bounded");
    for job in jobs {
        bounded_paused(job).await.unwrap().unwrap();
    }
}
