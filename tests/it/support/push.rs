use bytes::Bytes;
use foreman_client::wait::{Push, WaitLayerBuilder};
use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{Notifier, WaitLayer};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use super::{Daemon, TestApi, TestWait, exact};

pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// Waits with push, and the receiver of their events without a socket.
pub(crate) struct Pushed {
    pub(crate) wait: TestWait,
    pub(crate) daemon: Daemon,
    pub(crate) notifier: Notifier,
    receiver: WebhookReceiver,
    signs: bool,
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
        let push = Push::new(notifier.clone(), "http://here.test/events/").unwrap();
        let layer = WaitLayer::builder(api.clone()).poll_policy(exact().build().unwrap()).push(push);
        let wait = set(layer).build().unwrap().layer(api);
        let receiver = WebhookReceiver::builder(notifier.clone());
        let receiver = if signs { receiver.secret(SECRET) } else { receiver }.build().unwrap();
        Self { wait, daemon, notifier, receiver, signs }
    }

    /// An event of the daemon's comes; what it was answered.
    pub(crate) async fn event(&self, url: &str, job: &str, state: &str) -> StatusCode {
        let attempt = u8::from(state != "queued");
        let result = if state == "done" { r#"{"message":{"content":"told by an event"}}"# } else { "null" };
        self.deliver(
            url,
            format!(r#"{{"job_id":"{job}","state":"{state}","attempt":{attempt},"result":{result}}}"#),
        )
        .await
    }

    pub(crate) async fn deliver(&self, url: &str, body: String) -> StatusCode {
        let mut event = Request::post(url).header("content-type", "application/json");
        if self.signs {
            event = event.header("x-foreman-signature", Secret::new(SECRET).unwrap().sign(body.as_bytes()));
        }
        let event = event.body(Full::new(Bytes::from(body))).unwrap();
        self.receiver.clone().oneshot(event).await.unwrap().status()
    }
}
