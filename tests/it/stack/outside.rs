//! Layers around the whole job: they attach to it, bound it or turn it away, and never run it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use foreman_client::retry::Reattach;
use foreman_client::{BoxError, Client, Error, JobState, SubmitRequest};
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use http::Method;
use tokio_test::{assert_pending, task};
use tower::hedge::{Hedge, Policy};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use super::fault::{Fault, Faults, Faulty};
use super::rig::{Door, Rig, request, until};
use crate::eventually::bounded;

const SHORT: Duration = Duration::from_millis(1);

fn reattach() -> Reattach {
    Reattach::builder().retries(10_000).backoff(SHORT, SHORT).build().unwrap()
}

/// Hedges every request.
#[derive(Clone)]
struct Always;

impl Policy<SubmitRequest> for Always {
    fn clone_request(&self, request: &SubmitRequest) -> Option<SubmitRequest> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &SubmitRequest) -> bool {
        true
    }
}

#[tokio::test]
async fn after_a_timeout_above_the_wait_a_retry_attaches_to_the_running_job() {
    let rig = Rig::start().await;
    let jobs = rig.jobs(rig.waits());
    rig.warm_up(&jobs).await;
    let stack = ServiceBuilder::new().retry(reattach()).timeout(Duration::from_millis(100)).service(jobs.clone());
    let waiting = tokio::spawn(stack.oneshot(request()));
    let chat = rig.gate.begun().await;
    bounded(until(|| jobs.stats().started >= 4)).await;
    rig.gate.open(1);
    let result = bounded(waiting).await.unwrap().unwrap();
    assert_eq!(&result.job_id, chat.job_id());
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!(rig.ran(), (2, 2));
    assert!(jobs.stats().dropped >= 2);
}

#[tokio::test]
async fn a_hedge_above_the_wait_is_two_waits_on_one_job() {
    let rig = Rig::without_keys().await;
    let jobs = rig.jobs(rig.waits());
    let hedge = Hedge::new(jobs.clone(), Always, 0, 0.5, Duration::from_secs(1));
    let waiting = tokio::spawn(hedge.oneshot(request()));
    bounded(until(|| jobs.stats().started == 2)).await;
    rig.gate.open(1);
    let result = bounded(waiting).await.unwrap().unwrap();
    assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
    assert_eq!((rig.ran(), rig.posts(), jobs.stats().submitted), ((1, 1), 1, 1));
    assert_eq!(jobs.stats().waiting(), 0);
}

#[tokio::test]
async fn a_hedge_finds_the_job_whose_answer_was_lost_past_a_limit_of_one_request() {
    let rig = Rig::start().await;
    let door = Door::open().await;
    door.receiver.close();
    let waits = rig.waits().webhooks(door.push.clone()).lost_response_window(SHORT).build().unwrap();
    let jobs = ServiceBuilder::new().layer(waits).concurrency_limit(1).service(rig.api());
    rig.gate.open(2);
    bounded(jobs.clone().oneshot(request())).await.unwrap();
    rig.faults.posts([Fault::LoseAnswer]);
    let request = request();
    let (first, second) =
        bounded(async { tokio::join!(jobs.clone().oneshot(request.clone()), jobs.clone().oneshot(request.clone())) })
            .await;
    assert_eq!(first.unwrap().job_id, second.unwrap().job_id);
    assert_eq!((rig.ran(), rig.daemon.stats().replayed), ((2, 2), 1));
}

#[tokio::test]
async fn a_concurrency_limit_inside_bounds_requests_and_not_jobs() {
    let rig = Rig::start().await;
    let waits = rig.waits().build().unwrap();
    let jobs = ServiceBuilder::new().layer(waits).concurrency_limit(2).service(rig.api());
    rig.faults.posts(std::iter::repeat_n(Fault::Hold, 5));
    let waiting: Vec<_> = (0..5).map(|_| tokio::spawn(jobs.clone().oneshot(request()))).collect();
    bounded(async {
        for _ in 0..5 {
            rig.faults.answered().await;
            assert!(rig.posts() as u64 - rig.daemon.stats().accepted <= 2);
            rig.faults.release();
        }
    })
    .await;
    for _ in 0..5 {
        bounded(rig.gate.begun()).await;
    }
    assert_eq!((rig.faults.most_in_flight(), rig.ran()), (2, (5, 5)));
    rig.gate.open(5);
    for wait in waiting {
        bounded(wait).await.unwrap().unwrap();
    }
    assert_eq!(rig.ran(), (5, 5));
}

#[tokio::test]
async fn a_concurrency_limit_outside_bounds_jobs_until_they_end() {
    let rig = Rig::start().await;
    let limited = ServiceBuilder::new().concurrency_limit(1).service(rig.jobs(rig.waits()));
    let first = tokio::spawn(limited.clone().oneshot(request()));
    bounded(rig.gate.begun()).await;
    let mut second = task::spawn(limited.oneshot(request()));
    assert_pending!(second.poll());
    assert_eq!(rig.posts(), 1);
    rig.gate.open(1);
    bounded(first).await.unwrap().unwrap();
    assert!(second.is_woken());
    assert_pending!(second.poll());
    assert_eq!(rig.posts(), 2);
    drop(second);
}

#[tokio::test]
async fn load_shed_above_turns_away_what_can_be_called_again() {
    let rig = Rig::without_keys().await;
    let jobs = ServiceBuilder::new().load_shed().concurrency_limit(1).service(rig.jobs(rig.waits()));
    let first = tokio::spawn(jobs.clone().oneshot(request()));
    bounded(rig.gate.begun()).await;
    let turned_away = request();
    let error = Error::from_boxed(jobs.clone().oneshot(turned_away.clone()).await.unwrap_err());
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error}");
    // A retry above comes through once there is room.
    let again = ServiceBuilder::new().retry(reattach()).service(jobs);
    let second = tokio::spawn(again.oneshot(turned_away));
    rig.gate.open(2);
    bounded(first).await.unwrap().unwrap();
    bounded(second).await.unwrap().unwrap();
    assert_eq!((rig.ran(), rig.posts()), ((2, 2), 2));
}

#[tokio::test]
async fn a_job_outlives_its_gateway_and_is_attached_to_by_its_id() {
    let rig = Rig::without_keys().await;
    let gateway = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let request = request();
    let submission = request.submission();
    let url = rig.daemon.url();
    gateway.spawn(async move { Client::builder(url).build().await.unwrap().submit(request).await });
    let job_id = bounded(submission.accepted()).await.unwrap();
    bounded(rig.gate.begun()).await;
    gateway.shutdown_background();

    let client = Client::builder(rig.daemon.url()).polling().build().await.unwrap();
    rig.gate.open(1);
    let result = bounded(client.wait(job_id.clone())).await.unwrap();
    assert_eq!((result.job_id.clone(), result.state.clone()), (job_id.clone(), JobState::Done));
    assert_eq!((rig.daemon.executions(&job_id).await, rig.ran()), (1, (1, 1)));
}

#[tokio::test]
async fn the_default_client_runs_a_job_once_though_its_answer_is_lost() {
    for keys in [true, false] {
        let rig = if keys { Rig::start().await } else { Rig::without_keys().await };
        // By webhook, where an event names the job; by polling only if keys are kept.
        for push in if keys { vec![true, false] } else { vec![true] } {
            let before = rig.ran().0;
            let builder = Client::builder(rig.daemon.url());
            let client = if push { builder } else { builder.polling() }.build_with(rig.http()).await.unwrap();
            rig.gate.open(2);
            bounded(client.submit(request())).await.unwrap();
            rig.faults.posts([Fault::Answer(503, Some(0)), Fault::LoseAnswer]);
            let result = bounded(client.submit(request())).await.unwrap();
            assert_eq!(rig.daemon.executions(&result.job_id).await, 1);
            assert_eq!(rig.ran(), (before + 2, before + 2), "keys: {keys}, push: {push}");
        }
    }
}

/// A daemon whose first `failing` runs fail.
async fn failing(failing: u64) -> Daemon {
    let runs = Arc::new(AtomicU64::new(0));
    let backend = Backend::new(service_fn(move |_: Chat| {
        let fails = runs.fetch_add(1, Relaxed) < failing;
        async move { if fails { Err(BoxError::from("out of memory")) } else { Ok(ChatResponse::from_value("passed")?) } }
    }));
    Daemon::builder().backend(backend).start().await.unwrap()
}

#[tokio::test]
async fn a_failed_job_runs_again_as_often_as_asked_and_under_a_key_of_its_own() {
    for (fails, times, worth, runs, state) in [
        (1, 2, true, 2, JobState::Done),
        (3, 2, true, 3, JobState::Failed),
        (1, 2, false, 1, JobState::Failed),
        (0, 2, true, 1, JobState::Done),
    ] {
        let daemon = failing(fails).await;
        let (base, faults) = (daemon.url().parse().unwrap(), Faults::default());
        let http = Faulty::new(foreman_client::api::Transport::new(&base).unwrap(), faults.clone());
        let client = Client::builder(daemon.url()).polling().build_with(http).await.unwrap();
        let policy = Reattach::builder().backoff(SHORT, SHORT).renew_failed(times, move |_| worth).build().unwrap();
        let jobs = ServiceBuilder::new().retry(policy).service(client.jobs());
        let result = bounded(jobs.oneshot(request())).await.unwrap();
        assert_eq!(result.state, state);
        assert_eq!(daemon.executions(&result.job_id).await, 1);
        assert_eq!((daemon.stats().accepted, daemon.stats().executions), (runs, runs));
        let keys: std::collections::HashSet<_> =
            faults.sent(&Method::POST).into_iter().map(|sent| sent.key.unwrap()).collect();
        assert_eq!(keys.len() as u64, runs);
    }
}

#[tokio::test]
async fn without_being_asked_to_a_retry_does_not_run_a_failed_job_again() {
    let daemon = failing(1).await;
    let client = Client::builder(daemon.url()).polling().build().await.unwrap();
    let jobs = ServiceBuilder::new().retry(Reattach::default()).service(client.jobs());
    assert_eq!(bounded(jobs.oneshot(request())).await.unwrap().state, JobState::Failed);
    assert_eq!(daemon.stats().executions, 1);
}
