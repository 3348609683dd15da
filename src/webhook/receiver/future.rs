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
use crate::source::Registered;

/// The answer to an event: what a [`WebhookReceiver`] gives when called.
///
/// Dropping it before its end, as a server does when the peer goes away, delivers nothing.
#[pin_project]
pub struct ReceiverFuture<B>(#[pin] State<B>);

#[pin_project(project = StateProjection)]
enum State<B> {
    /// Refused before the body was looked at.
    Answered(#[pin] Ready<Response<Empty<Bytes>>>),
    /// The token led to a job; the body is on its way.
    Reading {
        #[pin]
        body: ReadBody<B>,
        registered: Registered,
        headers: HeaderMap,
        version: Version,
        receiver: WebhookReceiver,
    },
}

impl<B> ReceiverFuture<B> {
    pub(super) fn answered(response: Response<Empty<Bytes>>) -> Self {
        Self(State::Answered(std::future::ready(response)))
    }

    pub(super) fn reading(
        receiver: WebhookReceiver,
        registered: Registered,
        headers: HeaderMap,
        version: Version,
        body: ReadBody<B>,
    ) -> Self {
        Self(State::Reading { body, registered, headers, version, receiver })
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
            StateProjection::Answered(response) => ready!(response.poll(cx)),
            StateProjection::Reading { body, registered, headers, version, receiver } => {
                let judged = ready!(body.poll(cx)).and_then(|body| receiver.judge(registered, headers, &body));
                receiver.answer(judged, *version)
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
