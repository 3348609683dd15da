use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Response, response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use super::Call;
use super::service::Target;
use crate::error::Kind;
use crate::{BoxError, Error};

/// One request to the daemon and its answer: the future of [`Api`](super::Api).
///
/// # Cancel safety
///
/// Dropping it gives up on the answer; the daemon may have acted on the request all the same.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Exchange<F, B, C> {
    call: C,
    target: Arc<Target>,
    #[pin]
    state: State<F, B>,
    /// Begins with the first poll, since there may be no runtime before.
    #[pin]
    timeout: Option<Sleep>,
}

#[pin_project(project = StateProj)]
enum State<F, B> {
    /// Nothing was sent.
    Refused(Option<Error>),
    /// The head of the answer is awaited.
    Waiting(#[pin] F),
    /// The body is read; in a box, since it is large and lives for a moment, and a wait holds an exchange in itself.
    Reading(Pin<Box<Reading<B>>>),
}

#[pin_project]
struct Reading<B> {
    head: Option<response::Parts>,
    #[pin]
    body: B,
    read: BytesMut,
}

impl<F, B, C> Exchange<F, B, C> {
    pub(super) fn new(future: F, call: C, target: Arc<Target>) -> Self {
        Self { call, target, state: State::Waiting(future), timeout: None }
    }

    pub(super) fn refused(error: Error, call: C, target: Arc<Target>) -> Self {
        Self { call, target, state: State::Refused(Some(error)), timeout: None }
    }
}

impl<F, B, C, E> Future for Exchange<F, B, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
    C: Call,
{
    type Output = Result<C::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = this.target.exchange_timeout.saturating_add(this.call.hold());
        if this.timeout.is_none() {
            this.timeout.set(Some(sleep(limit)));
        }
        let answer = match poll_answer(this.state, this.target.max_answer, cx) {
            Poll::Ready(answer) => answer,
            Poll::Pending => match this.timeout.as_pin_mut() {
                Some(timeout) => {
                    ready!(timeout.poll(cx));
                    Err(Error::new(Kind::Exchange(Some(limit))))
                }
                None => return Poll::Pending,
            },
        };
        let result = answer.and_then(|answer| this.call.answer(answer));
        Poll::Ready(result.map_err(|error| this.call.about(error.with_call(this.target.describe(this.call)))))
    }
}

fn poll_answer<F, B, E>(
    mut state: Pin<&mut State<F, B>>,
    max_answer: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<Bytes>, Error>>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
{
    loop {
        match state.as_mut().project() {
            StateProj::Refused(error) => {
                let again = || Error::answer("it was taken already");
                return Poll::Ready(Err(error.take().unwrap_or_else(again)));
            }
            // Waiting -> Reading: the head is there.
            StateProj::Waiting(future) => {
                let answer = ready!(future.poll(cx)).map_err(|error| Error::from_boxed(error.into()))?;
                let (head, body) = answer.into_parts();
                let reading = Reading { head: Some(head), body, read: BytesMut::new() };
                state.set(State::Reading(Box::pin(reading)));
            }
            StateProj::Reading(reading) => return reading.as_mut().poll(max_answer, cx),
        }
    }
}

impl<B: Body<Error: Into<BoxError>>> Reading<B> {
    /// Reads to the end of the body, unless it is over the limit by its declaration or in fact.
    fn poll(self: Pin<&mut Self>, limit: usize, cx: &mut Context<'_>) -> Poll<Result<Response<Bytes>, Error>> {
        let mut this = self.project();
        let too_large = || Poll::Ready(Err(Error::new(Kind::TooLarge(limit))));
        if this.body.size_hint().lower() > limit as u64 {
            return too_large();
        }
        while let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| Error::new(Kind::Transport).with_source(error))?;
            if let Ok(data) = frame.into_data() {
                if data.remaining() > limit - this.read.len() {
                    return too_large();
                }
                this.read.put(data);
            }
        }
        let body = this.read.split().freeze();
        Poll::Ready(match this.head.take() {
            Some(head) => Ok(Response::from_parts(head, body)),
            None => Err(Error::answer("it was taken already")),
        })
    }
}

impl<F, B, C> fmt::Debug for Exchange<F, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
