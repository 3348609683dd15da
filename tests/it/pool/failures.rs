//! Daemons that fail, refuse or lose responses.

use foreman_client::retry::Reattach;
use foreman_client::{JobState, Pool};
use futures_util::TryStreamExt as _;
use tokio_test::{assert_pending, task};
use tower::{ServiceBuilder, ServiceExt as _};

use super::{pool, request_for, settle};
use crate::support::{Fault, PoolDaemon, bounded_paused, millis, request, seconds};

#[tokio::test(start_paused = true)]
async fn submission_that_did_not_arrive_moves_on_at_once() {
    for fault in [
        Fault::Refuse,
        Fault::Status(429, Some(30)),
        Fault::Status(503, Some(30)),
        Fault::Status(401, None),
        Fault::Status(404, None),
    ] {
        let (a, b) = (PoolDaemon::new("a", seconds(1)), PoolDaemon::new("b", seconds(1)));
        let pool = pool(&[a.clone(), b.clone()]).await;
        settle().await;
        a.set_fault(fault);
        let start = tokio::time::Instant::now();
        let jobs: Vec<_> = (0..8).map(|_| tokio::spawn(pool.submit(request()))).collect();
        settle().await;
        assert_eq!((b.accepted(), start.elapsed()), (8, millis(0)), "{fault:?}");
        // The first refusal shows it to the others.
        assert_eq!((a.posts(), pool.stats().moves), (1, 1), "{fault:?}");
        for job in jobs {
            bounded_paused(job).await.unwrap().unwrap();
        }
        let stats = pool.stats();
        assert_eq!((stats.daemons[0].moved_on, stats.daemons[1].finished), (1, 8));
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_of_the_request_itself_does_not_move_on() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)), PoolDaemon::new("b", seconds(1)));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    for daemon in [&a, &b] {
        daemon.set_fault(Fault::Status(422, None));
    }
    assert!(bounded_paused(pool.submit(request())).await.unwrap_err().is_rejected());
    assert_eq!((a.posts() + b.posts(), pool.stats().moves), (1, 0));
    assert!(pool.stats().daemons.iter().all(|daemon| daemon.is_available));
}

#[tokio::test(start_paused = true)]
async fn last_refusal_is_the_error_when_all_refuse() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)), PoolDaemon::new("b", seconds(1)));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    for daemon in [&a, &b] {
        daemon.set_fault(Fault::Status(401, None));
    }
    let error = bounded_paused(pool.submit(request())).await.unwrap_err();
    assert!(error.is_auth() && error.is_safe_to_resubmit(), "{error}");
    assert_eq!((a.posts(), b.posts()), (1, 1));
}

/// Its only daemon repeats by the client's own policy: there is none to move on to.
#[tokio::test(start_paused = true)]
async fn single_daemon_is_asked_again() {
    let a = PoolDaemon::new("a", seconds(1));
    let pool = pool([&a]).await;
    settle().await;
    a.set_fault(Fault::Status(429, Some(1)));
    let waiting = tokio::spawn(pool.submit(request()));
    settle().await;
    a.set_fault(Fault::None);
    bounded_paused(waiting).await.unwrap().unwrap();
    assert_eq!((a.posts(), a.accepted()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn model_whose_daemons_are_away_is_refused_with_the_time_of_the_next_probe() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)).models(&["x"]), PoolDaemon::new("b", seconds(1)).models(&["y"]));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    a.set_fault(Fault::Status(503, Some(20)));
    let error = bounded_paused(pool.submit(request_for("x").with_deadline(Some(seconds(1))))).await.unwrap_err();
    assert!(error.is_overloaded(), "{error}");
    let error = bounded_paused(pool.submit(request_for("x"))).await.unwrap_err();
    assert_eq!(error.to_string(), "no daemon of the pool is available for model x");
    assert!(error.is_retryable() && error.is_safe_to_resubmit() && error.idempotency_key().is_some());
    assert!((18..=20).contains(&error.retry_after().unwrap().as_secs()), "{error:?}");
    assert_eq!((a.posts(), b.posts()), (1, 0));
    // A retry above the pool waits for it.
    a.set_fault(Fault::None);
    let jobs = ServiceBuilder::new().retry(Reattach::default()).service(pool);
    bounded_paused(jobs.oneshot(request_for("x"))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failed_daemon_is_probed_with_backoff_and_gets_no_jobs() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)), PoolDaemon::new("b", seconds(1)));
    let pool =
        Pool::builder().models_interval(seconds(3_600)).from_clients([a.client().await, b.client().await]).unwrap();
    settle().await;
    a.set_fault(Fault::Refuse);
    while pool.stats().moves == 0 {
        bounded_paused(pool.submit(request())).await.unwrap();
    }
    let (posts, lists) = (a.posts(), a.lists());
    for _ in 0..100 {
        bounded_paused(pool.submit(request())).await.unwrap();
    }
    assert_eq!(a.posts(), posts, "left alone");
    let probes = a.lists() - lists;
    // 250 ms, doubled up to 30 s, in some 100 s.
    assert!((6..=13).contains(&probes), "{probes}");
    a.set_fault(Fault::None);
    tokio::time::sleep(seconds(31)).await;
    assert!(pool.stats().daemons[0].is_available);
    let jobs: Vec<_> = (0..20).map(|_| tokio::spawn(pool.submit(request()))).collect();
    for job in jobs {
        bounded_paused(job).await.unwrap().unwrap();
    }
    assert!(a.accepted() > 0);
}

/// It answers probes, and fails each job: on trial it gets one at a time.
#[tokio::test(start_paused = true)]
async fn daemon_on_trial_gets_one_job() {
    let (a, b) = (PoolDaemon::new("a", seconds(1)), PoolDaemon::new("b", seconds(1)));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    a.set_fault(Fault::Refuse);
    while pool.stats().moves == 0 {
        bounded_paused(pool.submit(request())).await.unwrap();
    }
    a.set_fault(Fault::Status(401, None));
    let posts = a.posts();
    tokio::time::sleep(seconds(1)).await;
    let jobs: Vec<_> = (0..50).map(|_| tokio::spawn(pool.submit(request()))).collect();
    settle().await;
    assert_eq!(a.posts() - posts, 1);
    for job in jobs {
        bounded_paused(job).await.unwrap().unwrap();
    }
}

/// Such as in a `select!` on a reference to it. Its daemon is the only one, and on trial.
#[tokio::test(start_paused = true)]
async fn call_that_is_not_polled_does_not_keep_others_from_a_daemon_on_trial() {
    let a = PoolDaemon::new("a", seconds(1));
    let pool = pool([&a]).await;
    settle().await;
    a.set_fault(Fault::Refuse);
    bounded_paused(pool.submit(request())).await.unwrap_err();
    a.set_fault(Fault::Hang);
    tokio::time::sleep(seconds(31)).await;
    let mut held = task::spawn(pool.submit(request()));
    assert_pending!(held.poll());
    a.set_fault(Fault::None);
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(pool.submit(request()))).collect();
    for wait in waiting {
        bounded_paused(wait).await.unwrap().unwrap();
    }
    assert_eq!((a.accepted(), pool.stats().daemons[0].waiting), (5, 1));
}

/// Such as a panic of a layer of the caller below the client.
#[tokio::test(start_paused = true)]
async fn panic_in_a_probe_is_a_failed_probe() {
    let a = PoolDaemon::new("a", seconds(1));
    let pool = pool([&a]).await;
    settle().await;
    a.set_fault(Fault::PanicInLists);
    tokio::time::sleep(seconds(120)).await;
    assert!(!pool.stats().daemons[0].is_available);
    a.set_fault(Fault::None);
    tokio::time::sleep(seconds(31)).await;
    assert!(pool.stats().daemons[0].is_available);
    bounded_paused(pool.submit(request())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handles_stay_open_while_a_submission_moves_on() {
    let (a, b) = (PoolDaemon::new("a", seconds(3)), PoolDaemon::new("b", seconds(3)));
    let pool = pool(&[a.clone(), b.clone()]).await;
    settle().await;
    a.set_fault(Fault::Refuse);
    while pool.stats().moves == 0 {
        let request = request();
        let (submission, states) = (request.submission(), request.submission().states());
        let (accepted, states, result) = bounded_paused(async {
            tokio::join!(submission.accepted(), states.try_collect::<Vec<_>>(), pool.submit(request))
        })
        .await;
        assert_eq!(accepted.unwrap(), *result.unwrap().job_id());
        assert_eq!(states.unwrap().last().unwrap().state, JobState::Done);
        assert_eq!(submission.daemon().is_some(), submission.job_handle().is_some());
    }
    assert_eq!(a.accepted(), 0);
}
