use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::retry::RetrySubmission;
use foreman_client::source::PollPolicy;
use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use foreman_client::{Client, Notifier, WaitLayer};
use foreman_daemon::{Builder, Daemon};
use http::Method;
use tower::{ServiceBuilder, ServiceExt as _};

use super::{BoundedGate, FaultyHttp, HttpFaults, bounded, gated_daemon, millis, request};

/// The embedded daemon with a [`BoundedGate`], and clients that reach it by [`FaultyHttp`].
pub(crate) struct EmbeddedHarness {
    pub(crate) daemon: Daemon,
    pub(crate) gate: BoundedGate,
    pub(crate) faults: HttpFaults,
}

impl EmbeddedHarness {
    pub(crate) async fn start() -> Self {
        Self::with(Daemon::builder().workers(8)).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        let (gate, daemon) = gated_daemon(builder).await;
        Self { daemon, gate, faults: HttpFaults::default() }
    }

    /// The daemon appears to have no idempotency keys.
    pub(crate) async fn without_keys() -> Self {
        let harness = Self::start().await;
        harness.faults.strip_idempotency_keys();
        harness
    }

    pub(crate) fn http(&self) -> FaultyHttp<Transport> {
        let base = self.daemon.url().parse().unwrap();
        FaultyHttp::new(Transport::new(&base).unwrap(), self.faults.clone())
    }

    pub(crate) fn api(&self) -> Api<FaultyHttp<Transport>> {
        Api::new(self.daemon.url().parse().unwrap(), self.http())
    }

    /// Waits that poll every few milliseconds.
    pub(crate) fn waits(&self) -> WaitLayerBuilder<Api<FaultyHttp<Transport>>> {
        WaitLayer::builder(self.api()).poll_policy(fast_polls())
    }

    /// The default stack with [`fast_retries`].
    pub(crate) fn jobs(&self, waits: WaitLayerBuilder<Api<FaultyHttp<Transport>>>) -> Jobs<FaultyHttp<Transport>> {
        ServiceBuilder::new().layer(waits.build().unwrap()).retry(fast_retries()).service(self.api())
    }

    /// Runs a job, so that the client learns whether the daemon supports idempotency keys.
    pub(crate) async fn learn_idempotency(&self, jobs: &Jobs<FaultyHttp<Transport>>) {
        self.gate.open(1);
        bounded(jobs.clone().oneshot(request())).await.unwrap();
        self.gate.run_started().await;
        bounded(self.faults.responded()).await;
    }

    /// How many submissions the client has sent.
    pub(crate) fn posts(&self) -> usize {
        self.faults.sent(&Method::POST).len()
    }

    /// How many jobs the daemon has accepted, and how many runs they had together.
    pub(crate) fn accepted_and_runs(&self) -> (u64, u64) {
        let stats = self.daemon.stats();
        (stats.accepted, stats.executions)
    }
}

/// A webhook listener of the test, which can close the receiver and read the notifier.
pub(crate) struct EventEndpoint {
    pub(crate) notifier: Notifier,
    pub(crate) receiver: WebhookReceiver,
    pub(crate) webhooks: WebhookEndpoint,
    _listener: WebhookListener,
}

impl EventEndpoint {
    pub(crate) async fn open() -> Self {
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::new(notifier.clone());
        let listener = WebhookListener::builder(receiver.clone()).bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let webhooks = WebhookEndpoint::new(notifier.clone(), format!("http://{}", listener.local_addr())).unwrap();
        Self { notifier, receiver, webhooks, _listener: listener }
    }
}

pub(crate) fn fast_polls() -> PollPolicy {
    PollPolicy::builder().min_interval(millis(1)).max_interval(millis(5)).build().unwrap()
}

pub(crate) fn fast_retries() -> RetrySubmission {
    RetrySubmission::builder().backoff(millis(1), millis(1)).no_budget().build().unwrap()
}

/// A client of an embedded daemon that polls and binds no listener.
pub(crate) async fn polling_client(daemon: &Daemon) -> Client {
    Client::builder(daemon.url()).polling().build().await.unwrap()
}
