//! When a pool takes a call.

use foreman_client::{Client, Pool};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Service as _, ServiceBuilder, ServiceExt as _};

use super::{pool, settle};
use crate::support::{Fault, PoolDaemon, bounded_paused, millis, request, seconds};

#[tokio::test(start_paused = true)]
async fn empty_pool_is_refused() {
    let error = Pool::<PoolDaemon>::from_clients([]).unwrap_err();
    assert_eq!((error.is_invalid(), error.to_string().as_str()), (true, "invalid clients: must not be empty"));
}

#[tokio::test(start_paused = true)]
async fn two_clients_of_one_daemon_are_refused() {
    let daemon = PoolDaemon::new("a", seconds(1));
    let clients = [daemon.client().await, daemon.client().await];
    let error = Pool::from_clients(clients).unwrap_err();
    assert_eq!(error.to_string(), "invalid clients: has the daemon http://a.test twice");
    // Another token is another client's jobs.
    let other = daemon.builder().token("other").build_with(daemon.clone()).await.unwrap();
    assert_eq!(Pool::from_clients([daemon.client().await, other]).unwrap().stats().daemons.len(), 2);
}

#[test]
fn pool_outside_of_a_runtime_is_refused() {
    let daemon = tokio::runtime::Runtime::new().unwrap();
    let client = daemon.block_on(Client::builder("http://a.test").polling().build()).unwrap();
    assert_eq!(Pool::from_clients([client]).unwrap_err().to_string(), "invalid runtime: must be a tokio runtime");
}

#[tokio::test(start_paused = true)]
async fn zero_interval_is_refused() {
    let client = PoolDaemon::new("a", seconds(1)).client().await;
    let error = Pool::builder().models_interval(seconds(0)).from_clients([client]).unwrap_err();
    assert_eq!(error.to_string(), "invalid models_interval: must not be zero");
}

#[tokio::test(start_paused = true)]
async fn pool_without_an_available_daemon_is_not_ready_until_a_probe_is_answered() {
    let daemon = PoolDaemon::new("a", seconds(1));
    daemon.set_fault(Fault::Refuse);
    let pool = pool([&daemon]).await;
    settle().await;
    let mut waiting = task::spawn(pool.clone());
    assert_pending!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    tokio::time::sleep(seconds(5)).await;
    assert!(!waiting.is_woken() || waiting.enter(|cx, mut pool| pool.poll_ready(cx)).is_pending());
    daemon.set_fault(Fault::None);
    tokio::time::sleep(seconds(31)).await;
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    assert_eq!(daemon.posts(), 0, "no job was used as a probe");
}

#[tokio::test(start_paused = true)]
async fn load_shed_refuses_while_no_daemon_is_available() {
    let daemon = PoolDaemon::new("a", seconds(1));
    daemon.set_fault(Fault::Refuse);
    let pool = pool([&daemon]).await;
    settle().await;
    let jobs = ServiceBuilder::new().layer(foreman_client::wait::JobErrorsLayer::new()).load_shed().service(pool);
    let error = jobs.oneshot(request()).await.unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_sent_when_a_daemon_returns() {
    let daemon = PoolDaemon::new("a", seconds(1));
    daemon.set_fault(Fault::Refuse);
    let pool = pool([&daemon]).await;
    settle().await;
    let waiting = tokio::spawn(pool.submit(request()));
    tokio::time::sleep(seconds(60)).await;
    assert!(!waiting.is_finished());
    daemon.set_fault(Fault::None);
    let result = bounded_paused(waiting).await.unwrap().unwrap();
    assert_eq!((result.daemon(), daemon.accepted()), (Some("http://a.test"), 1));
}

/// `Retry-After` ends by time, without a probe.
#[tokio::test(start_paused = true)]
async fn pool_is_ready_again_after_retry_after() {
    let daemon = PoolDaemon::new("a", seconds(1));
    daemon.set_fault(Fault::Status(429, Some(7)));
    let client = daemon.builder().retry(crate::support::fast_retries()).build_with(daemon.clone()).await.unwrap();
    let pool = Pool::builder().models_interval(seconds(3_600)).from_clients([client]).unwrap();
    settle().await;
    let deadline = Some(millis(100));
    bounded_paused(pool.submit(request().with_deadline(deadline))).await.unwrap_err();
    daemon.set_fault(Fault::None);
    let mut waiting = task::spawn(pool.clone());
    assert_pending!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    tokio::time::sleep(seconds(8)).await;
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
}

/// The end of its pause makes it available no longer.
#[tokio::test(start_paused = true)]
async fn pool_sleeps_while_its_only_client_is_stopped() {
    let daemon = PoolDaemon::new("a", seconds(1));
    daemon.set_fault(Fault::Status(429, Some(7)));
    let client = daemon.builder().retry(crate::support::fast_retries()).build_with(daemon.clone()).await.unwrap();
    let pool = Pool::builder().models_interval(seconds(3_600)).from_clients([client.clone()]).unwrap();
    settle().await;
    bounded_paused(pool.submit(request().with_deadline(Some(millis(100))))).await.unwrap_err();
    client.shutdown(seconds(0)).await;
    tokio::time::sleep(seconds(60)).await;
    let mut waiting = task::spawn(pool.clone());
    assert_pending!(waiting.enter(|cx, mut pool| pool.poll_ready(cx)));
    settle().await;
    assert!(!waiting.is_woken(), "it would be polled without a pause");
}

#[tokio::test(start_paused = true)]
async fn shutdown_refuses_calls_and_returns_the_jobs_that_go_on() {
    let daemons = [PoolDaemon::new("a", seconds(100)), PoolDaemon::new("b", seconds(100))];
    let pool = pool(&daemons).await;
    settle().await;
    let waiting = [tokio::spawn(pool.submit(request())), tokio::spawn(pool.submit(request()))];
    tokio::time::sleep(seconds(1)).await;
    let mut idle = task::spawn(pool.clone());
    let running = bounded_paused(pool.shutdown(seconds(1))).await;
    let mut urls: Vec<_> = running.iter().map(ToString::to_string).collect();
    urls.sort();
    assert_eq!(urls, ["http://a.test/jobs/1", "http://b.test/jobs/1"]);
    for wait in waiting {
        assert!(wait.await.unwrap().unwrap_err().is_shutting_down());
    }
    let error = assert_ready_err!(idle.enter(|cx, mut pool| pool.poll_ready(cx)));
    assert!(error.is_shutting_down() && error.is_safe_to_resubmit());
}

#[tokio::test(start_paused = true)]
async fn pool_is_probed_once_each_daemon_has_listed_its_models_or_failed() {
    let [a, b] = ["a", "b"].map(|name| PoolDaemon::new(name, seconds(1)).models(&[name]));
    b.set_fault(Fault::Refuse);
    let pool = pool([&a, &b]).await;
    let mut probed = tokio_test::task::spawn(pool.probed());
    assert!(probed.poll().is_pending());
    settle().await;
    assert!(probed.is_woken() && probed.poll().is_ready());
    let [a, b] = <[_; 2]>::try_from(pool.stats().daemons).unwrap();
    assert!(a.knows_models && a.last_failure.is_none(), "{a:?}");
    assert!(!b.is_available && b.last_failure.is_some_and(|error| error.is_connect()));
    bounded_paused(pool.probed()).await;
}
