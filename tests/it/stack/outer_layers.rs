//! Layers above the wait: they attach to a job, bound it or shed it, and never run it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use foreman_client::retry::Reattach;
use foreman_client::{BoxError, Client, Error, JobState};
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use http::Method;
use tokio_test::{assert_pending, task};
use tower::hedge::Hedge;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{
    AlwaysHedge, EmbeddedHarness, EventEndpoint, FaultyHttp, HttpFault, HttpFaults, bounded, eventually, millis,
    polling_client, request,
};

fn reattach() -> Reattach {
    Reattach::builder().retries(10_000).backoff(millis(1), millis(1)).build().unwrap()
}

#[tokio::test]
async fn retry_after_timeout_attaches() {
    let harness = EmbeddedHarness::start().await;
    let jobs = harness.jobs(harness.waits());
    harness.learn_idempotency(&jobs).await;
    let stack = ServiceBuilder::new().retry(reattach()).timeout(millis(100)).service(jobs.clone());
    let waiting = tokio::spawn(stack.oneshot(request()));
    let chat = harness.gate.run_started().await;
    eventually("the retry waits", || jobs.stats().started >= 4).await;
    harness.gate.open(1);
    let result = bounded(waiting).await.unwrap().unwrap();
    assert_eq!(result.job_id(), chat.job_id());
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!(harness.accepted_and_runs(), (2, 2));
    assert!(jobs.stats().dropped >= 2);
}

#[tokio::test]
async fn hedge_waits_twice_on_one_job() {
    let harness = EmbeddedHarness::without_keys().await;
    let jobs = harness.jobs(harness.waits());
    let hedge = Hedge::new(jobs.clone(), AlwaysHedge, 0, 0.5, crate::support::seconds(1));
    let waiting = tokio::spawn(hedge.oneshot(request()));
    eventually("both waits start", || jobs.stats().started == 2).await;
    harness.gate.open(1);
    let result = bounded(waiting).await.unwrap().unwrap();
    assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
    assert_eq!((harness.accepted_and_runs(), harness.posts(), jobs.stats().submitted), ((1, 1), 1, 1));
    assert_eq!(jobs.stats().waiting(), 0);
}

#[tokio::test]
async fn hedge_recovers_lost_response_with_one_permit() {
    let harness = EmbeddedHarness::start().await;
    let endpoint = EventEndpoint::open().await;
    endpoint.receiver.close();
    let waits = harness.waits().webhooks(endpoint.webhooks.clone()).lost_response_window(millis(1)).build().unwrap();
    let jobs = ServiceBuilder::new().layer(waits).concurrency_limit(1).service(harness.api());
    harness.gate.open(2);
    bounded(jobs.clone().oneshot(request())).await.unwrap();
    harness.faults.fail_posts([HttpFault::LoseResponse]);
    let request = request();
    let (first, second) =
        bounded(async { tokio::join!(jobs.clone().oneshot(request.clone()), jobs.clone().oneshot(request.clone())) })
            .await;
    assert_eq!(first.unwrap().job_id(), second.unwrap().job_id());
    assert_eq!((harness.accepted_and_runs(), harness.daemon.stats().replayed), ((2, 2), 1));
}

#[tokio::test]
async fn inner_concurrency_limit_bounds_requests() {
    let harness = EmbeddedHarness::start().await;
    let waits = harness.waits().build().unwrap();
    let jobs = ServiceBuilder::new().layer(waits).concurrency_limit(2).service(harness.api());
    harness.faults.fail_posts(std::iter::repeat_n(HttpFault::Delay, 5));
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(jobs.clone().oneshot(request()))).collect();
    bounded(async {
        for _ in 0..5 {
            harness.faults.responded().await;
            assert!(harness.posts() as u64 - harness.daemon.stats().accepted <= 2);
            harness.faults.release();
        }
    })
    .await;
    for _ in 0..5 {
        harness.gate.run_started().await;
    }
    assert_eq!((harness.faults.most_in_flight(), harness.accepted_and_runs()), (2, (5, 5)));
    harness.gate.open(5);
    for wait in waiting {
        bounded(wait).await.unwrap().unwrap();
    }
    assert_eq!(harness.accepted_and_runs(), (5, 5));
}

#[tokio::test]
async fn outer_concurrency_limit_bounds_jobs() {
    let harness = EmbeddedHarness::start().await;
    let limited = ServiceBuilder::new().concurrency_limit(1).service(harness.jobs(harness.waits()));
    let first = tokio::spawn(limited.clone().oneshot(request()));
    harness.gate.run_started().await;
    let mut second = task::spawn(limited.oneshot(request()));
    assert_pending!(second.poll());
    assert_eq!(harness.posts(), 1);
    harness.gate.open(1);
    bounded(first).await.unwrap().unwrap();
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(harness.posts(), 2);
    drop(second);
}

#[tokio::test]
async fn load_shed_is_safe_to_resubmit() {
    let harness = EmbeddedHarness::without_keys().await;
    let jobs = ServiceBuilder::new().load_shed().concurrency_limit(1).service(harness.jobs(harness.waits()));
    let first = tokio::spawn(jobs.clone().oneshot(request()));
    harness.gate.run_started().await;
    let shed = request();
    let error = Error::from_boxed(bounded(jobs.clone().oneshot(shed.clone())).await.unwrap_err());
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error}");
    // A retry above the load shed submits it when a permit is free.
    let again = ServiceBuilder::new().retry(reattach()).service(jobs);
    let second = tokio::spawn(again.oneshot(shed));
    harness.gate.open(2);
    bounded(first).await.unwrap().unwrap();
    bounded(second).await.unwrap().unwrap();
    assert_eq!((harness.accepted_and_runs(), harness.posts()), ((2, 2), 2));
}

#[tokio::test]
async fn job_outlives_gateway() {
    let harness = EmbeddedHarness::without_keys().await;
    let gateway = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let request = request();
    let submission = request.submission();
    let url = harness.daemon.url();
    gateway.spawn(async move { Client::builder(url).build().await.unwrap().submit(request).await });
    let job_id = bounded(submission.accepted()).await.unwrap();
    harness.gate.run_started().await;
    gateway.shutdown_background();

    let client = polling_client(&harness.daemon).await;
    harness.gate.open(1);
    let result = bounded(client.wait(&job_id)).await.unwrap();
    assert_eq!((result.job_id().clone(), result.state().clone()), (job_id.clone(), JobState::Done));
    assert_eq!((harness.daemon.executions(&job_id).await, harness.accepted_and_runs()), (1, (1, 1)));
}

#[tokio::test]
async fn default_client_runs_job_once_after_loss() {
    for keys in [true, false] {
        let harness = if keys { EmbeddedHarness::start().await } else { EmbeddedHarness::without_keys().await };
        // With webhooks an event names the job. Polling needs idempotency keys.
        for webhooks in if keys { vec![true, false] } else { vec![true] } {
            let before = harness.accepted_and_runs().0;
            let builder = Client::builder(harness.daemon.url());
            let client = if webhooks { builder } else { builder.polling() }.build_with(harness.http()).await.unwrap();
            harness.gate.open(2);
            bounded(client.submit(request())).await.unwrap();
            harness.faults.fail_posts([HttpFault::Respond(503, Some(0)), HttpFault::LoseResponse]);
            let result = bounded(client.submit(request())).await.unwrap();
            assert_eq!(harness.daemon.executions(result.job_id()).await, 1);
            assert_eq!(harness.accepted_and_runs(), (before + 2, before + 2), "keys: {keys}, webhooks: {webhooks}");
        }
    }
}

/// A daemon whose first `failing` runs fail.
async fn daemon_failing(failing: u64) -> Daemon {
    let runs = Arc::new(AtomicU64::new(0));
    let backend = Backend::new(service_fn(move |_: Chat| {
        let fails = runs.fetch_add(1, Relaxed) < failing;
        async move { if fails { Err(BoxError::from("out of memory")) } else { Ok(ChatResponse::from_value("passed")?) } }
    }));
    Daemon::builder().backend(backend).start().await.unwrap()
}

#[tokio::test]
async fn failed_job_is_renewed_under_new_key() {
    for (failing, renewals, is_renewed, runs, state) in [
        (1, 2, true, 2, JobState::Done),
        (3, 2, true, 3, JobState::Failed),
        (1, 2, false, 1, JobState::Failed),
        (0, 2, true, 1, JobState::Done),
    ] {
        let daemon = daemon_failing(failing).await;
        let (base, faults) = (daemon.url().parse().unwrap(), HttpFaults::default());
        let http = FaultyHttp::new(foreman_client::api::Transport::new(&base).unwrap(), faults.clone());
        let client = Client::builder(daemon.url()).polling().build_with(http).await.unwrap();
        let policy = Reattach::builder()
            .backoff(millis(1), millis(1))
            .renew_failed(renewals, move |_| is_renewed)
            .build()
            .unwrap();
        let jobs = ServiceBuilder::new().retry(policy).service(client.jobs());
        let result = bounded(jobs.oneshot(request())).await.unwrap();
        assert_eq!(result.state(), &state);
        assert_eq!(daemon.executions(result.job_id()).await, 1);
        assert_eq!((daemon.stats().accepted, daemon.stats().executions), (runs, runs));
        let keys: std::collections::HashSet<_> =
            faults.sent(&Method::POST).into_iter().map(|sent| sent.key.unwrap()).collect();
        assert_eq!(keys.len() as u64, runs);
    }
}

#[tokio::test]
async fn failed_job_is_not_renewed_by_default() {
    let daemon = daemon_failing(1).await;
    let client = polling_client(&daemon).await;
    let jobs = ServiceBuilder::new().retry(Reattach::default()).service(client.jobs());
    assert_eq!(bounded(jobs.oneshot(request())).await.unwrap().state(), &JobState::Failed);
    assert_eq!(daemon.stats().executions, 1);
}
