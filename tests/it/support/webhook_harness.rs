use bytes::Bytes;
use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{Notifier, SubmitRequest, WaitLayer};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use super::{MockApi, MockWait, SECRET, ScriptedDaemon, WaitTask, exact_polls, job_json, request, spawn_wait};

/// A wait with webhooks over a scripted daemon. Events go to the receiver without a socket.
pub(crate) struct WebhookHarness {
    pub(crate) wait: MockWait,
    pub(crate) daemon: ScriptedDaemon,
    pub(crate) notifier: Notifier,
    api: MockApi,
    receiver: WebhookReceiver,
    signs: bool,
}

impl WebhookHarness {
    /// The daemon signs events and the receiver has the secret.
    pub(crate) fn signed() -> Self {
        Self::new(Notifier::new(), true, |layer| layer)
    }

    /// The daemon does not sign events, so that they are hints.
    pub(crate) fn unsigned() -> Self {
        Self::new(Notifier::new(), false, |layer| layer)
    }

    pub(crate) fn new(
        notifier: Notifier,
        signs: bool,
        configure: impl FnOnce(WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi>,
    ) -> Self {
        let (api, daemon) = ScriptedDaemon::new();
        let webhooks = WebhookEndpoint::new(notifier.clone(), "http://here.test/events/").unwrap();
        let layer = WaitLayer::builder(api.clone())
            .daemon(api.daemon_id())
            .poll_policy(exact_polls().build().unwrap())
            .webhooks(webhooks);
        let wait = configure(layer).build().unwrap().layer(api.clone());
        let receiver = WebhookReceiver::builder(notifier.clone());
        let receiver = if signs { receiver.secret(SECRET) } else { receiver }.build().unwrap();
        Self { wait, daemon, notifier, api, receiver, signs }
    }

    /// Runs a job by webhook, after which webhooks count as working.
    pub(crate) async fn prove_webhooks(&mut self) {
        let waiting = spawn_wait(&self.wait, &request());
        let post = self.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.accept("1");
        self.event(&url, "1", "running").await;
        self.daemon.next_get().await.respond_state("running");
        self.event(&url, "1", "done").await;
        assert!(waiting.await.unwrap().is_ok());
    }

    /// Delivers an event of the daemon and returns the receiver's response. The content of a job that is done is "from an event".
    pub(crate) async fn event(&self, url: &str, job: &str, state: &str) -> StatusCode {
        self.deliver(url, job, state, self.signs.then_some(SECRET)).await
    }

    /// Delivers an event that is signed with another secret.
    pub(crate) async fn forged_event(&self, url: &str, job: &str, state: &str) -> StatusCode {
        self.deliver(url, job, state, Some("another secret")).await
    }

    /// Delivers an event that is signed with this secret, or not signed.
    pub(crate) async fn deliver(&self, url: &str, job: &str, state: &str, secret: Option<&str>) -> StatusCode {
        let body = job_json(job, state, "from an event");
        let mut event = Request::post(url).header("content-type", "application/json");
        if let Some(secret) = secret {
            event = event.header("x-foreman-signature", Secret::new(secret).unwrap().sign(body.as_bytes()));
        }
        let event = event.body(Full::new(Bytes::from(body))).unwrap();
        self.receiver.clone().oneshot(event).await.unwrap().status()
    }

    /// Submits and loses the response. Returns the wait and the callback URL.
    pub(crate) async fn lose_response(&mut self, request: &SubmitRequest) -> (WaitTask, String) {
        let waiting = spawn_wait(&self.wait, request);
        let post = self.daemon.next_post().await;
        let url = post.callback().unwrap();
        post.reset();
        self.daemon.settle().await;
        (waiting, url)
    }

    /// The service below the wait.
    pub(crate) fn api(&self) -> MockApi {
        self.api.clone()
    }

    pub(crate) fn close_receiver(&self) {
        self.receiver.close();
    }

    /// A wait without webhooks on the same daemon.
    pub(crate) fn without_webhooks(
        &self,
        configure: impl FnOnce(WaitLayerBuilder<MockApi>) -> WaitLayerBuilder<MockApi>,
    ) -> MockWait {
        let layer = WaitLayer::builder(self.api.clone())
            .daemon(self.api.daemon_id())
            .poll_policy(exact_polls().build().unwrap());
        configure(layer).build().unwrap().layer(self.api.clone())
    }

    /// The callback URL of a request that was sent.
    pub(crate) fn callback(request: &SubmitRequest) -> String {
        let body: serde_json::Value = serde_json::from_slice(&request.body()).unwrap();
        body["state_webhook_url"].as_str().unwrap().to_owned()
    }
}
