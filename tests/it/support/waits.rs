use std::time::Duration;

use foreman_client::source::{PollPolicy, PollPolicyBuilder};
use foreman_client::wait::{Wait, WaitLayerBuilder};
use foreman_client::{DropPolicy, Error, JobResult, JobWait, SubmitRequest, WaitLayer};
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceExt};

use super::{MockApi, ScriptedDaemon, bounded_paused, job_id, request};

pub(crate) type MockWait = Wait<MockApi, MockApi>;
pub(crate) type WaitTask = JoinHandle<Result<JobResult, Error>>;

/// Polls at 0, 1, 2, 4, 8, 16 s and then every 8 s, without jitter and without long polls.
pub(crate) fn exact_polls() -> PollPolicyBuilder {
    PollPolicy::builder()
        .min_interval(Duration::from_secs(1))
        .age_fraction(1.0)
        .max_interval(Duration::from_secs(8))
        .jitter(0.0)
        .long_poll(Duration::ZERO)
}

/// A wait by polling only, over a scripted daemon.
pub(crate) fn polling_wait() -> (MockWait, ScriptedDaemon) {
    polling_wait_with(|layer| layer)
}

pub(crate) fn polling_wait_with(
    configure: impl FnOnce(WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi>,
) -> (MockWait, ScriptedDaemon) {
    let (api, daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).daemon(api.daemon_id()).poll_policy(exact_polls().build().unwrap());
    (configure(layer).build().unwrap().layer(api), daemon)
}

/// A wait whose abandoned jobs are cancelled.
pub(crate) fn cancelling_wait() -> (MockWait, ScriptedDaemon) {
    let (api, daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).on_drop(DropPolicy::Cancel, api.clone());
    (layer.build().unwrap().layer(api), daemon)
}

/// Submits a clone and waits, in a task of its own.
pub(crate) fn spawn_wait(wait: &MockWait, request: &SubmitRequest) -> WaitTask {
    tokio::spawn(bounded_paused(wait.clone().oneshot(request.clone())))
}

/// Waits for a job by its id, in a task of its own.
pub(crate) fn spawn_attach(wait: &MockWait, job: &str) -> WaitTask {
    tokio::spawn(bounded_paused(wait.attach().oneshot(job_id(job))))
}

/// The wait itself, not polled so far.
pub(crate) async fn call_wait(wait: &MockWait, request: SubmitRequest) -> JobWait<MockApi, MockApi> {
    let mut wait = wait.clone();
    ServiceExt::<SubmitRequest>::ready(&mut wait).await.unwrap().call(request)
}

/// Asserts how many abandoned jobs were cancelled, and how many could not be.
#[track_caller]
pub(crate) fn assert_cancels(wait: &MockWait, cancelled: u64, failed: u64) {
    let stats = wait.stats();
    assert_eq!((stats.cancelled, stats.cancels_failed), (cancelled, failed), "{stats:?}");
}

/// Runs job 1, so that the wait learns that the daemon supports idempotency keys.
pub(crate) async fn learn_idempotency(wait: &MockWait, daemon: &mut ScriptedDaemon) {
    let waiting = spawn_wait(wait, &request());
    daemon.next_post().await.accept_with_key("1");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}
