//! Fault injection, with the real client on a real socket: each fault occurs, and the client keeps its guarantees.

mod events;
mod jobs;
mod requests;

use std::time::Duration;

use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::retry::RetrySubmission;
use foreman_client::source::PollPolicy;
use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::webhook::{WebhookListener, WebhookReceiver};
use foreman_client::{JobResult, JobState, Notifier, SubmitRequest, WaitLayer};
use foreman_daemon::{Builder, Daemon, Faults};
use tower::{ServiceBuilder, ServiceExt as _};

use super::gate::Gate;

const SECRET: &str = "a secret that both sides know";
const LONG: Duration = Duration::from_secs(3600);

/// A daemon with faults, and a gate for its backend.
struct Rig {
    faults: Faults,
    gate: Gate,
    daemon: Daemon,
}

impl Rig {
    async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(set: impl FnOnce(Builder) -> Builder) -> Self {
        let (gate, backend) = Gate::new();
        let faults = Faults::new();
        // Webhooks are retried without a pause.
        let builder = Daemon::builder().webhook_secret(SECRET).webhook_retries([Duration::ZERO; 9]);
        let daemon = set(builder.backend(backend).faults(faults.clone())).start().await.unwrap();
        Self { faults, gate, daemon }
    }

    fn api(&self) -> Api<Transport> {
        let base = self.daemon.url().parse().unwrap();
        Api::new(base, Transport::new(&self.daemon.url().parse().unwrap()).unwrap())
    }

    fn waits(&self) -> WaitLayerBuilder<Api<Transport>> {
        WaitLayer::builder(self.api()).daemon(self.api().daemon_id())
    }

    /// The default stack, with a short backoff.
    fn jobs(&self, waits: WaitLayerBuilder<Api<Transport>>) -> Jobs {
        let pause = Duration::from_millis(1);
        let retries = RetrySubmission::builder().backoff(pause, pause).no_budget().build().unwrap();
        ServiceBuilder::new().layer(waits.build().unwrap()).retry(retries).service(self.api())
    }

    /// The default stack, which polls without webhooks.
    fn polling(&self) -> Jobs {
        self.jobs(self.waits().poll_policy(quick()))
    }

    /// Runs a job without faults, so that the client learns that the daemon stores idempotency keys.
    async fn warm_up(&self, jobs: &Jobs) {
        self.gate.open(1);
        jobs.clone().oneshot(request()).await.unwrap();
        self.gate.begun().await;
    }

    /// Asserts that the job is done and has run once.
    async fn ran_once(&self, result: &JobResult) {
        assert_eq!(result.state(), &JobState::Done, "{result:?}");
        assert_eq!(self.daemon.executions(result.job_id()).await, 1);
    }

    /// The number of jobs, and of runs of all jobs.
    fn ran(&self) -> (u64, u64) {
        let stats = self.daemon.stats();
        (stats.accepted, stats.executions)
    }
}

/// The client's side of webhooks.
struct Webhooks {
    notifier: Notifier,
    endpoint: WebhookEndpoint,
    _listener: WebhookListener,
}

impl Webhooks {
    async fn listen() -> Self {
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build().unwrap();
        let listener = WebhookListener::builder(receiver).bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let endpoint = WebhookEndpoint::new(notifier.clone(), format!("http://{}", listener.local_addr())).unwrap();
        Self { notifier, endpoint, _listener: listener }
    }

    /// The default stack, which relies on events after the first poll.
    fn jobs(&self, rig: &Rig) -> Jobs {
        let rarely = PollPolicy::builder().min_interval(LONG).max_interval(LONG).slow_interval(LONG);
        let rarely = rarely.long_poll(Duration::ZERO).build().unwrap();
        rig.jobs(rig.waits().webhooks(self.endpoint.clone()).poll_policy(rarely))
    }
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

/// Polls at short intervals, whether webhooks work or not.
fn quick() -> PollPolicy {
    let (short, longer) = (Duration::from_millis(1), Duration::from_millis(5));
    let policy = PollPolicy::builder().min_interval(short).max_interval(longer).slow_interval(short);
    policy.long_poll(Duration::ZERO).build().unwrap()
}

#[test]
fn faults_are_send_and_debug() {
    fn is<T: Clone + Send + Sync + 'static>() {}
    fn is_send<T: Send>(_: &T) {}
    is::<Faults>();
    let faults = Faults::new();
    is_send(&faults.until(|_| true));
    assert_eq!(format!("{faults:?}").matches("lost_responses: 0").count(), 1);
}
