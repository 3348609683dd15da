use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use http_body::Body;
use http_body_util::LengthLimitError;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::BoxError;
use crate::source::RefusalReason;

/// Reads a body whole, up to a size and until a time.
#[pin_project]
pub(super) struct ReadBody<B> {
    #[pin]
    body: B,
    bytes: BytesMut,
    limit: usize,
    until: Option<Instant>,
    /// Made when there is something to wait for: most bodies are there with their headers.
    #[pin]
    timer: Option<Sleep>,
}

impl<B> ReadBody<B> {
    pub(super) fn new(body: B, limit: usize, until: Option<Instant>) -> Self {
        Self { body, bytes: BytesMut::new(), limit, until, timer: None }
    }
}

impl<B> Future for ReadBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<BytesMut, RefusalReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            match frame {
                None => return Poll::Ready(Ok(std::mem::take(this.bytes))),
                Some(Err(error)) => return Poll::Ready(Err(why_broken(&*error.into()))),
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    let Ok(data) = frame.into_data() else { continue };
                    if data.remaining() > this.limit.saturating_sub(this.bytes.len()) {
                        return Poll::Ready(Err(RefusalReason::TooLarge));
                    }
                    this.bytes.put(data);
                }
            }
        }
        let Some(until) = *this.until else { return Poll::Pending };
        if this.timer.is_none() {
            this.timer.set(Some(sleep_until(until)));
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(Err(RefusalReason::Body))
    }
}

/// A layer above may have a limit of its own; the same bytes would meet it again, so that is no 408.
fn why_broken(error: &(dyn std::error::Error + 'static)) -> RefusalReason {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return RefusalReason::TooLarge;
        }
        next = error.source();
    }
    RefusalReason::Body
}
