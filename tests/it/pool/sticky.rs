//! A submission stays with the daemon that may have it.

use foreman_client::Pool;
use foreman_client::retry::Reattach;
use foreman_client::wait::JobErrorsLayer;
use tower::hedge::Hedge;
use tower::{ServiceBuilder, ServiceExt as _};

use super::{pool, settle};
use crate::support::{AlwaysHedge, Fault, PoolDaemon, bounded_paused, millis, request, seconds};

fn daemons() -> [PoolDaemon; 4] {
    ["a", "b", "c", "d"].map(|name| PoolDaemon::new(name, seconds(20)))
}

fn accepted(daemons: &[PoolDaemon]) -> usize {
    daemons.iter().map(PoolDaemon::accepted).sum()
}

#[tokio::test(start_paused = true)]
async fn clones_attach_to_the_job_of_the_first() {
    let daemons = daemons();
    let pool = pool(&daemons).await;
    settle().await;
    for _ in 0..10 {
        let (before, request) = (accepted(&daemons), request());
        let first = tokio::time::timeout(seconds(1), pool.submit(request.clone())).await;
        assert!(first.is_err(), "the wait is dropped, and the job goes on");
        let daemon = request.submission().daemon();
        let (one, other) =
            bounded_paused(async { tokio::join!(pool.submit(request.clone()), pool.submit(request)) }).await;
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.daemon(), one.job_handle()), (daemon.as_deref(), other.job_handle()));
        assert_eq!(accepted(&daemons), before + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_above_a_timeout_attaches() {
    let daemons = daemons();
    let pool = pool(&daemons).await;
    settle().await;
    let retry = Reattach::builder().retries(100).backoff(millis(10), millis(10)).build().unwrap();
    let jobs = ServiceBuilder::new().layer(JobErrorsLayer::new()).retry(retry).timeout(seconds(3)).service(pool);
    for run in 1..=10 {
        bounded_paused(jobs.clone().oneshot(request())).await.unwrap();
        assert_eq!(accepted(&daemons), run);
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_attaches() {
    let daemons = daemons();
    let pool = pool(&daemons).await;
    settle().await;
    let hedge = Hedge::new(pool.clone(), AlwaysHedge, 0, 0.5, seconds(1));
    bounded_paused(hedge.oneshot(request())).await.unwrap();
    assert_eq!(accepted(&daemons), 1);
}

/// Two pools of the same daemons, as of two parts of a program.
#[tokio::test(start_paused = true)]
async fn clone_in_another_pool_attaches() {
    let daemons = daemons();
    let (one, other) = (pool(&daemons).await, pool(&daemons).await);
    settle().await;
    let request = request();
    let (first, second) =
        bounded_paused(async { tokio::join!(one.submit(request.clone()), other.submit(request)) }).await;
    assert_eq!(first.unwrap().job_handle(), second.unwrap().job_handle());
    assert_eq!(accepted(&daemons), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_response_stays_with_its_daemon() {
    let daemons = daemons();
    let pool = pool(&daemons).await;
    settle().await;
    for daemon in &daemons {
        daemon.set_fault(Fault::LoseResponses);
    }
    let request = request();
    let error = bounded_paused(pool.submit(request.clone())).await.unwrap_err();
    assert!(error.is_maybe_submitted() && error.is_daemon_gone(), "{error}");
    let daemon = error.daemon().unwrap().to_owned();
    assert_eq!((accepted(&daemons), pool.stats().moves), (1, 0));
    for daemon in &daemons {
        daemon.set_fault(Fault::None);
    }
    // That daemon is left alone by new submissions, and this one goes there nevertheless.
    let error = bounded_paused(pool.submit(request)).await.unwrap_err();
    assert_eq!(error.daemon(), Some(&*daemon));
    assert_eq!(accepted(&daemons), 1);
}

#[tokio::test(start_paused = true)]
async fn daemon_that_is_gone_for_good_is_named_with_its_job() {
    let daemons = daemons();
    let pool = pool(&daemons).await;
    settle().await;
    let request = request();
    let waiting = tokio::spawn(pool.submit(request.clone()));
    tokio::time::sleep(seconds(1)).await;
    let handle = request.submission().job_handle().unwrap();
    let gone = daemons.iter().find(|daemon| daemon.url() == handle.daemon()).unwrap();
    gone.set_fault(Fault::Refuse);
    let error = bounded_paused(waiting).await.unwrap().unwrap_err();
    assert!(error.is_daemon_gone() && error.is_connect() && error.is_retryable() && error.may_be_running());
    assert_eq!(error.job_handle(), Some(handle.clone()));
    let message = error.to_string();
    assert!(message.contains(handle.daemon()) && message.contains("(job 1, last state running"), "{message}");
    assert!(message.ends_with("; renew() would run it at another daemon"), "{message}");
    let renewed = bounded_paused(pool.submit(request.renew())).await.unwrap();
    assert_ne!(renewed.daemon(), Some(gone.url()));
}

#[tokio::test(start_paused = true)]
async fn submission_of_a_daemon_outside_of_the_pool_is_not_sent() {
    let daemons = daemons();
    let pool = Pool::from_clients([daemons[0].client().await]).unwrap();
    settle().await;
    let request = request();
    let other = daemons[1].client().await;
    let _ = tokio::time::timeout(seconds(1), other.submit(request.clone())).await;
    let error = bounded_paused(pool.submit(request)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the daemon that may have the job is not in the pool, http://b.test (job 1, last state running); \
         renew() would run it at another daemon"
    );
    assert!(error.is_daemon_gone() && error.may_be_running() && !error.is_retryable());
    assert_eq!(daemons[0].posts(), 0);
}

/// It had chosen a daemon and not sent anything when another call sent the submission elsewhere.
#[tokio::test(start_paused = true)]
async fn call_follows_its_submission_to_another_daemon() {
    let [a, b, ..] = daemons();
    a.set_models(&["m"]);
    b.set_models(&["another"]);
    let client = a.client().await;
    let pool = Pool::from_clients([client.clone(), b.client().await]).unwrap();
    settle().await;
    // The daemon asks the client to wait, outside of the pool.
    a.set_fault(Fault::Status(429, Some(5)));
    client.submit(request().with_deadline(Some(seconds(1)))).await.unwrap_err();
    a.set_fault(Fault::None);
    let request = request();
    let waiting = tokio::spawn(pool.submit(request.clone()));
    settle().await;
    assert_eq!((pool.stats().daemons[0].waiting, a.accepted()), (1, 0));
    let elsewhere = Pool::from_clients([b.client().await]).unwrap();
    let sent = bounded_paused(elsewhere.submit(request)).await.unwrap();
    let followed = bounded_paused(waiting).await.unwrap().unwrap();
    assert_eq!((followed.job_handle(), sent.daemon()), (sent.job_handle(), Some("http://b.test")));
    assert_eq!((a.accepted(), b.accepted(), pool.stats().moves), (0, 1, 0));
}
