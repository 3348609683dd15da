use bytes::Bytes;
use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{Notifier, SubmitRequest, WaitLayer};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use super::{Daemon, TestApi, TestWait, exact};

const SECRET: &str = "It's a Secret to Everybody";

/// Waits with push, and the receiver of their events without a socket.
pub(crate) struct Pushed {
    pub(crate) wait: TestWait,
    pub(crate) daemon: Daemon,
    pub(crate) notifier: Notifier,
    api: TestApi,
    receiver: WebhookReceiver,
    signs: bool,
}

/// Somebody who knows where events go to, and not the secret.
pub(crate) struct Forger(WebhookReceiver);

impl Forger {
    pub(crate) async fn event(&self, url: &str, job: &str, state: &str) -> StatusCode {
        deliver(&self.0, url, event(job, state), Some("another secret")).await
    }
}

/// A job's JSON as events tell it: what they say is distinguishable from what polls say.
fn event(job: &str, state: &str) -> String {
    let attempt = u8::from(state != "queued");
    let result = if state == "done" { r#"{"message":{"content":"told by an event"}}"# } else { "null" };
    format!(r#"{{"job_id":"{job}","state":"{state}","attempt":{attempt},"result":{result}}}"#)
}

async fn deliver(receiver: &WebhookReceiver, url: &str, body: String, secret: Option<&str>) -> StatusCode {
    let mut event = Request::post(url).header("content-type", "application/json");
    if let Some(secret) = secret {
        event = event.header("x-foreman-signature", Secret::new(secret).unwrap().sign(body.as_bytes()));
    }
    let event = event.body(Full::new(Bytes::from(body))).unwrap();
    receiver.clone().oneshot(event).await.unwrap().status()
}

impl Pushed {
    /// Events are signed, and believed.
    pub(crate) fn signed() -> Self {
        Self::new(Notifier::new(), true, |layer| layer)
    }

    /// Events are hints.
    pub(crate) fn unsigned() -> Self {
        Self::new(Notifier::new(), false, |layer| layer)
    }

    pub(crate) fn new(
        notifier: Notifier,
        signs: bool,
        set: impl FnOnce(WaitLayerBuilder<TestApi>) -> WaitLayerBuilder<TestApi>,
    ) -> Self {
        let (api, daemon) = Daemon::new();
        let push = WebhookEndpoint::new(notifier.clone(), "http://here.test/events/").unwrap();
        let layer = WaitLayer::builder(api.clone())
            .daemon(api.base_url().clone())
            .poll_policy(exact().build().unwrap())
            .webhooks(push);
        let wait = set(layer).build().unwrap().layer(api.clone());
        let receiver = WebhookReceiver::builder(notifier.clone());
        let receiver = if signs { receiver.secret(SECRET) } else { receiver }.build().unwrap();
        Self { wait, daemon, notifier, api, receiver, signs }
    }

    /// An event of the daemon's comes; what it was answered.
    pub(crate) async fn event(&self, url: &str, job: &str, state: &str) -> StatusCode {
        deliver(&self.receiver, url, event(job, state), self.signs.then_some(SECRET)).await
    }

    /// Waits on the same daemon that no events are sent for.
    pub(crate) fn without_push(
        &self,
        set: impl FnOnce(WaitLayerBuilder<TestApi>) -> WaitLayerBuilder<TestApi>,
    ) -> TestWait {
        let layer = WaitLayer::builder(self.api.clone())
            .daemon(self.api.base_url().clone())
            .poll_policy(exact().build().unwrap());
        set(layer).build().unwrap().layer(self.api.clone())
    }

    /// Where the events of a request that was sent go to.
    pub(crate) fn url(request: &SubmitRequest) -> String {
        let body: serde_json::Value = serde_json::from_slice(&request.body()).unwrap();
        body["state_webhook_url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn forger(&self) -> Forger {
        Forger(self.receiver.clone())
    }
}
