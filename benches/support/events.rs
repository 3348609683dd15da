//! Waits of a default client over a daemon in memory, and the events that end them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{BoxError, Client, Error, JobResult, Notifier, SubmitRequest};
use http::Request;
use http_body_util::Full;
use tower::{Service as _, ServiceExt as _};

use super::SECRET;
use super::in_memory::{InMemory, done, event};

pub(crate) type Wait = Pin<Box<dyn Future<Output = Result<JobResult, Error>>>>;

pub(crate) type Event = Request<Full<Bytes>>;

pub(crate) struct Events {
    pub(crate) client: Client<InMemory>,
    pub(crate) secret: Secret,
    daemon: InMemory,
    receiver: WebhookReceiver,
}

impl Events {
    pub(crate) async fn new() -> Result<Self, BoxError> {
        let notifier = Notifier::new();
        let daemon = InMemory::default();
        let client = Client::builder("http://daemon.example")
            .notifier(notifier.clone())
            .public_url("http://here.example/foreman")
            .build_with(daemon.clone())
            .await?;
        let receiver = WebhookReceiver::builder(notifier).secret(SECRET).build()?;
        Ok(Self { client, secret: Secret::new(SECRET)?, daemon, receiver })
    }

    /// `count` events of about `bytes` bytes, and the waits that they are for. The waits have been polled once.
    pub(crate) fn prepare(&self, bytes: usize, count: usize) -> Result<(Vec<Event>, Vec<Wait>), BoxError> {
        let mut waits: Vec<Wait> = Vec::with_capacity(count);
        for _ in 0..count {
            let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
            let mut wait: Wait = Box::pin(self.client.jobs().oneshot(request));
            let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the job has not ended");
            waits.push(wait);
        }
        let accepted = self.daemon.take();
        assert_eq!(accepted.len(), count, "each job is accepted");
        let requests = accepted.iter().map(|job| event(&job.url, done(&job.id, bytes), &self.secret)).collect();
        Ok((requests, waits))
    }

    /// Passes an event to the receiver, which has to answer with `status`.
    pub(crate) fn receive(&self, request: Event, status: u16) {
        // The receiver is always ready.
        let mut response = std::pin::pin!(self.receiver.clone().call(request));
        let Poll::Ready(Ok(response)) = response.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            unreachable!("the receiver answers at once: the body is in memory")
        };
        assert_eq!(response.status(), status, "status of the response");
    }
}
