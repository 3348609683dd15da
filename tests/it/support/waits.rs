use std::time::Duration;

use foreman_client::source::{PollPolicy, PollPolicyBuilder};
use foreman_client::wait::{Wait, WaitLayerBuilder};
use foreman_client::{Error, JobId, JobResult, JobWait, SubmitRequest, WaitLayer};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::{Layer, Service, ServiceExt};

use super::{Daemon, NEVER, TestApi};

pub(crate) type TestWait = Wait<TestApi, TestApi>;
pub(crate) type Waiting = JoinHandle<Result<JobResult, Error>>;

/// Every second to begin with, then every other, 4, 8 and no more, without chance and without long polls.
pub(crate) fn exact() -> PollPolicyBuilder {
    PollPolicy::builder()
        .interval(Duration::from_secs(1))
        .growth(2.0)
        .max_interval(Duration::from_secs(8))
        .jitter(0.0)
        .long_poll(Duration::ZERO)
}

/// Waits by polling alone.
pub(crate) fn polling(set: impl FnOnce(WaitLayerBuilder<TestApi>) -> WaitLayerBuilder<TestApi>) -> (TestWait, Daemon) {
    let (api, daemon) = Daemon::new();
    let layer = WaitLayer::builder(api.clone()).daemon(api.base_url().clone()).poll_policy(exact().build().unwrap());
    (set(layer).build().unwrap().layer(api), daemon)
}

pub(crate) fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

/// Submits a clone and waits, in a task of its own.
pub(crate) fn begin(wait: &TestWait, request: &SubmitRequest) -> Waiting {
    bounded(wait.clone().oneshot(request.clone()))
}

/// Waits for a job by its id, in a task of its own.
pub(crate) fn attach(wait: &TestWait, job: &str) -> Waiting {
    bounded(wait.clone().oneshot(JobId::new(job).unwrap()))
}

fn bounded(waiting: impl Future<Output = Result<JobResult, Error>> + Send + 'static) -> Waiting {
    tokio::spawn(async { timeout(NEVER, waiting).await.expect("the wait does not end") })
}

/// The future itself, not polled yet.
pub(crate) async fn called(wait: &TestWait, request: SubmitRequest) -> JobWait<TestApi, TestApi> {
    let mut wait = wait.clone();
    ServiceExt::<SubmitRequest>::ready(&mut wait).await.unwrap().call(request)
}
