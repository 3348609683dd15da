use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use foreman_protocol::http1::BodyBytes;
use http_body::Body;
use http_body_util::LengthLimitError;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::BoxError;
use crate::source::RefusalReason;

/// Collects a body, up to a size limit and until a deadline.
#[pin_project]
pub(super) struct ReadBody<B> {
    #[pin]
    body: B,
    bytes: BodyBytes,
    /// In bytes.
    limit: usize,
    /// Of the reading alone, from when the body is first pending.
    timeout: Duration,
    /// Of the whole request. `None` means no deadline.
    deadline: Option<Instant>,
    /// Created when the body is first pending. Most bodies arrive together with their headers and need no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> ReadBody<B> {
    pub(super) fn new(body: B, limit: usize, timeout: Duration, deadline: Option<Instant>) -> Self {
        Self { body, bytes: BodyBytes::default(), limit, timeout, deadline, timer: None }
    }
}

impl<B> Future for ReadBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Bytes, RefusalReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while let Poll::Ready(frame) = this.body.as_mut().poll_frame(cx) {
            match frame {
                None => return Poll::Ready(Ok(this.bytes.take())),
                Some(Err(error)) => return Poll::Ready(Err(read_error_reason(&*error.into()))),
                Some(Ok(frame)) => {
                    // Trailers are ignored.
                    let Ok(data) = frame.into_data() else { continue };
                    if data.remaining() > this.limit.saturating_sub(this.bytes.len()) {
                        return Poll::Ready(Err(RefusalReason::TooLarge));
                    }
                    this.bytes.push(data);
                }
            }
        }
        if this.timer.is_none() {
            let timeout = Instant::now().checked_add(*this.timeout);
            let Some(first) = [timeout, *this.deadline].into_iter().flatten().min() else { return Poll::Pending };
            *this.timer = Some(Box::pin(sleep_until(first)));
        }
        if let Some(timer) = this.timer {
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(RefusalReason::Body))
    }
}

/// The reason for an error of the body.
///
/// A [`LengthLimitError`] comes from a layer outside the receiver that limits the body. It maps to 413 and not to 408,
/// because a retry with the same bytes would fail again.
fn read_error_reason(error: &(dyn std::error::Error + 'static)) -> RefusalReason {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return RefusalReason::TooLarge;
        }
        next = error.source();
    }
    RefusalReason::Body
}
