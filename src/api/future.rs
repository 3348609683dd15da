use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use foreman_protocol::http1::BodyBytes;
use http::{Response, response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use super::service::Target;
use super::{Call, Tried};
use crate::error::Kind;
use crate::submission::InFlightRequest;
use crate::{BoxError, Error};

/// One request to the daemon: the future of [`Api`](super::Api), which resolves to the response.
///
/// # Cancel safety
///
/// Dropping it drops the response. The daemon may have acted on the request.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ApiFuture<F, B, C> {
    call: C,
    target: Arc<Target>,
    tried: Option<Tried>,
    #[pin]
    state: State<F, B>,
    /// Starts with the first poll, since there may be no runtime before.
    #[pin]
    timeout: Option<Sleep>,
    in_flight: Option<InFlightRequest>,
}

#[pin_project(project = StateProj)]
enum State<F, B> {
    /// The request is invalid; nothing was sent.
    Invalid(Option<Error>),
    /// Waiting for the head of the response.
    Head(#[pin] F),
    /// Reading the body. It is in a box because it is large and short-lived, and a wait contains this future.
    Body(Pin<Box<ReadBody<B>>>),
}

#[pin_project]
struct ReadBody<B> {
    head: Option<response::Parts>,
    #[pin]
    body: B,
    read: BodyBytes,
}

impl<F, B, C> ApiFuture<F, B, C> {
    pub(super) fn new(
        future: F,
        call: C,
        target: Arc<Target>,
        tried: Option<Tried>,
        in_flight: Option<InFlightRequest>,
    ) -> Self {
        Self { call, target, tried, state: State::Head(future), timeout: None, in_flight }
    }

    pub(super) fn invalid(error: Error, call: C, target: Arc<Target>) -> Self {
        Self { call, target, tried: None, state: State::Invalid(Some(error)), timeout: None, in_flight: None }
    }
}

impl<F, B, C, E> Future for ApiFuture<F, B, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
    C: Call,
{
    type Output = Result<<C as Call>::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = this.target.request_timeout.saturating_add(this.call.long_poll());
        if this.timeout.is_none() {
            this.timeout.set(Some(sleep(limit)));
        }
        let response = match poll_response(this.state, this.target.max_response_size, cx) {
            Poll::Ready(response) => response,
            Poll::Pending => match this.timeout.as_pin_mut() {
                Some(timeout) => {
                    ready!(timeout.poll(cx));
                    Err(Error::new(Kind::RequestTimeout(Some(limit))))
                }
                None => return Poll::Pending,
            },
        };
        let result = response.and_then(|response| {
            this.target.responded(response.headers());
            this.call.response(response)
        });
        if let Some(in_flight) = this.in_flight.take() {
            this.call.sent(in_flight, &result);
        }
        Poll::Ready(
            result.map_err(|error| {
                this.call.annotate(error.with_call(this.target.describe(this.call, this.tried.as_ref())))
            }),
        )
    }
}

fn poll_response<F, B, E>(
    mut state: Pin<&mut State<F, B>>,
    max_response_size: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<Bytes>, Error>>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
{
    loop {
        match state.as_mut().project() {
            StateProj::Invalid(error) => {
                return Poll::Ready(Err(error.take().unwrap_or_else(polled_again)));
            }
            // Head -> Body
            StateProj::Head(future) => {
                let response = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()))?;
                let (head, body) = response.into_parts();
                state.set(State::Body(Box::pin(ReadBody { head: Some(head), body, read: BodyBytes::default() })));
            }
            StateProj::Body(body) => return body.as_mut().poll(max_response_size, cx),
        }
    }
}

impl<B: Body<Error: Into<BoxError>>> ReadBody<B> {
    /// Reads to the end of the body, unless its declared or its real size is over the limit.
    fn poll(self: Pin<&mut Self>, limit: usize, cx: &mut Context<'_>) -> Poll<Result<Response<Bytes>, Error>> {
        let mut this = self.project();
        let too_large = || Poll::Ready(Err(Error::new(Kind::TooLarge(limit))));
        if this.body.size_hint().lower() > limit as u64 {
            return too_large();
        }
        while let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| Error::cut_off(error.into()))?;
            if let Ok(data) = frame.into_data() {
                if data.remaining() > limit - this.read.len() {
                    return too_large();
                }
                this.read.push(data);
            }
        }
        let body = this.read.take();
        Poll::Ready(match this.head.take() {
            Some(head) => Ok(Response::from_parts(head, body)),
            None => Err(polled_again()),
        })
    }
}

/// The caller polled the future after it had completed.
fn polled_again() -> Error {
    Error::response("polled after completion")
}

impl<F, B, C> fmt::Debug for ApiFuture<F, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiFuture").finish_non_exhaustive()
    }
}
