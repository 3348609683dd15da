use std::convert::Infallible;
use std::fmt;
use std::future::Ready;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, Version};
use http_body::Body;
use http_body_util::Empty;
use pin_project::pin_project;

use super::body::ReadBody;
use super::service::WebhookReceiver;
use crate::BoxError;
use crate::source::{Recipient, RefusalReason};

/// The response future of a [`WebhookReceiver`].
///
/// It resolves to an empty response and never to an error. See the [table of responses](crate::webhook#responses).
///
/// # Cancel safety
///
/// Dropping the future before it completes delivers nothing, even if the whole body has arrived. The daemon gets no
/// response and sends the event again.
///
/// # Panics
///
/// Polling panics outside a tokio runtime with time enabled, if the body has to be waited for. Polling again after
/// completion may panic.
#[pin_project]
pub struct ReceiverFuture<B>(#[pin] State<B>);

#[pin_project(project = StateProjection)]
// Nearly all requests have their body read. A box would be an allocation for each of them.
#[allow(clippy::large_enum_variant)]
enum State<B> {
    /// The request is refused by its head. The body is not read.
    Refused(#[pin] Ready<Response<Empty<Bytes>>>),
    /// The head is valid. The body is being read.
    Reading {
        #[pin]
        body: ReadBody<B>,
        recipient: Recipient,
        headers: HeaderMap,
        version: Version,
        receiver: WebhookReceiver,
    },
}

impl<B> ReceiverFuture<B> {
    pub(super) fn refused(response: Response<Empty<Bytes>>) -> Self {
        Self(State::Refused(std::future::ready(response)))
    }

    pub(super) fn reading(
        receiver: WebhookReceiver,
        recipient: Recipient,
        headers: HeaderMap,
        version: Version,
        body: ReadBody<B>,
    ) -> Self {
        Self(State::Reading { body, recipient, headers, version, receiver })
    }
}

impl<B> Future for ReceiverFuture<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.project().0.project() {
            StateProjection::Refused(response) => ready!(response.poll(cx)),
            StateProjection::Reading { body, recipient, headers, version, receiver } => {
                let body = ready!(body.poll(receiver.budget(), cx));
                if matches!(body, Err(RefusalReason::TooLarge)) {
                    recipient.oversized_event();
                }
                let outcome = body.and_then(|body| receiver.deliver(recipient, headers, &body));
                receiver.respond(outcome, *version)
            }
        };
        Poll::Ready(Ok(response))
    }
}

impl<B> fmt::Debug for ReceiverFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiverFuture").finish_non_exhaustive()
    }
}
