//! A daemon whose runs the test begins and ends, and a client behind faults.

use std::time::Duration;

use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::retry::RetrySubmission;
use foreman_client::source::PollPolicy;
use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use foreman_client::{Notifier, SubmitRequest, WaitLayer};
use foreman_daemon::{Builder, Daemon};
use http::Method;
use tower::{ServiceBuilder, ServiceExt as _};

use super::fault::{Faults, Faulty};
use crate::gate::Gate;

pub(crate) type Http = Faulty<Transport>;

pub(crate) struct Rig {
    pub(crate) daemon: Daemon,
    pub(crate) gate: Gate,
    pub(crate) faults: Faults,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(Daemon::builder().workers(8)).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        let (gate, backend) = Gate::new();
        let daemon = builder.backend(backend).start().await.unwrap();
        Self { daemon, gate, faults: Faults::default() }
    }

    /// With a daemon that knows no idempotency keys.
    pub(crate) async fn without_keys() -> Self {
        let rig = Self::start().await;
        rig.faults.strip_keys();
        rig
    }

    pub(crate) fn http(&self) -> Http {
        let base = self.daemon.url().parse().unwrap();
        Faulty::new(Transport::new(&base).unwrap(), self.faults.clone())
    }

    pub(crate) fn api(&self) -> Api<Http> {
        Api::new(self.daemon.url().parse().unwrap(), self.http())
    }

    /// Waits by polling, quickly.
    pub(crate) fn waits(&self) -> WaitLayerBuilder<Api<Http>> {
        WaitLayer::builder(self.api()).poll_policy(quick_polls())
    }

    /// The default stack with quick retries.
    pub(crate) fn jobs(&self, waits: WaitLayerBuilder<Api<Http>>) -> Jobs<Http> {
        ServiceBuilder::new().layer(waits.build().unwrap()).retry(quick_retries()).service(self.api())
    }

    /// Runs a job, so that the client learns whether the daemon keeps keys.
    pub(crate) async fn warm_up(&self, jobs: &Jobs<Http>) {
        self.gate.open(1);
        jobs.clone().oneshot(request()).await.unwrap();
        self.gate.begun().await;
        self.faults.answered().await;
    }

    /// How many submissions the client has sent.
    pub(crate) fn posts(&self) -> usize {
        self.faults.sent(&Method::POST).len()
    }

    /// Jobs, and runs of all of them.
    pub(crate) fn ran(&self) -> (u64, u64) {
        let stats = self.daemon.stats();
        (stats.accepted, stats.executions)
    }
}

/// Where events come in.
pub(crate) struct Door {
    pub(crate) notifier: Notifier,
    pub(crate) receiver: WebhookReceiver,
    pub(crate) push: WebhookEndpoint,
    _listener: WebhookListener,
}

impl Door {
    pub(crate) async fn open() -> Self {
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::new(notifier.clone());
        let listener = WebhookListener::builder(receiver.clone()).bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let push = WebhookEndpoint::new(notifier.clone(), format!("http://{}", listener.local_addr())).unwrap();
        Self { notifier, receiver, push, _listener: listener }
    }
}

pub(crate) fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

pub(crate) fn quick_polls() -> PollPolicy {
    PollPolicy::builder().interval(Duration::from_millis(1)).max_interval(Duration::from_millis(5)).build().unwrap()
}

pub(crate) fn quick_retries() -> RetrySubmission {
    let pause = Duration::from_millis(1);
    RetrySubmission::builder().backoff(pause, pause).no_budget().build().unwrap()
}

/// Returns when it is so, which it is bound to become.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}
