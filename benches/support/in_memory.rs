//! A daemon in memory, as an HTTP service: it accepts every job, and remembers the callback URL.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use foreman_client::webhook::{Secret, WebhookReceiver};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tower::{Service, ServiceExt as _};

use super::SECRET;

#[derive(Clone, Default)]
pub(crate) struct InMemory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    accepted: Mutex<Vec<Accepted>>,
    /// Sends the event of the end here before the response.
    receiver: Mutex<Option<WebhookReceiver>>,
}

#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) url: String,
}

#[derive(Deserialize)]
struct Submission {
    state_webhook_url: Option<String>,
}

impl InMemory {
    /// Each job ends before its submission is answered.
    pub(crate) fn finish_at_once(&self, receiver: WebhookReceiver) {
        *self.0.receiver.lock().expect("no panic") = Some(receiver);
    }

    /// The jobs accepted since the last call.
    pub(crate) fn take(&self) -> Vec<Accepted> {
        std::mem::take(&mut self.0.accepted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn respond(self, request: Request<Full<Bytes>>) -> Response<Full<Bytes>> {
        if *request.method() != Method::POST {
            let id = request.uri().path().trim_start_matches("/jobs/");
            return Response::new(Full::from(format!(r#"{{"job_id":"{id}","state":"running"}}"#)));
        }
        let body = request.into_body().collect().await.expect("a body in memory").to_bytes();
        let submission: Submission = serde_json::from_slice(&body).expect("a submission");
        let id = fastrand::u64(..).to_string();
        let response = format!(r#"{{"job_id":"{id}","state":"queued"}}"#);
        if let Some(url) = submission.state_webhook_url {
            let receiver = self.0.receiver.lock().expect("no panic").clone();
            match receiver {
                Some(receiver) => {
                    let event = event(&url, done(&id, 200), &Secret::new(SECRET).expect("a secret"));
                    let response = receiver.oneshot(event).await.expect("the receiver does not fail");
                    assert_eq!(response.status(), 204, "the event is accepted");
                }
                None => self.0.accepted.lock().expect("no panic").push(Accepted { id, url }),
            }
        }
        Response::builder().status(202).body(Full::from(response)).expect("a valid response")
    }
}

impl Service<Request<Full<Bytes>>> for InMemory {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let daemon = self.clone();
        Box::pin(async move { Ok(daemon.respond(request).await) })
    }
}

/// A finished job whose JSON has about `bytes` bytes.
pub(crate) fn done(id: &str, bytes: usize) -> String {
    let head = format!(
        r#"{{"job_id":"{id}","state":"done","model":"m","created_at":"2026-01-01T00:00:00Z","attempt":1,"result":{{"model":"m","message":{{"role":"assistant","content":""#
    );
    let tail = r#""},"done":true},"error":null,"artifacts":[]}"#;
    let content = "sky ".repeat(bytes.saturating_sub(head.len() + tail.len()) / 4);
    format!("{head}{content}{tail}")
}

/// The signed webhook of `body`.
pub(crate) fn event(url: &str, body: String, secret: &Secret) -> Request<Full<Bytes>> {
    Request::post(url)
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("x-foreman-signature", secret.sign(body.as_bytes()))
        .body(Full::from(body))
        .expect("a valid request")
}
