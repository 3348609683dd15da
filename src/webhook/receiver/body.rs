use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use foreman_protocol::http1::{BodyBytes, ByteBudget, ByteLease};
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
    /// What is stored of a body that has to be waited for.
    lease: Option<ByteLease>,
}

impl<B> ReadBody<B> {
    pub(super) fn new(body: B, limit: usize, timeout: Duration, deadline: Option<Instant>) -> Self {
        Self { body, bytes: BodyBytes::default(), limit, timeout, deadline, timer: None, lease: None }
    }
}

impl<B> ReadBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// `budget`: of all bodies that are waited for.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        budget: &ByteBudget,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, RefusalReason>> {
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
                    if let Some(lease) = this.lease
                        && !lease.grow(BodyBytes::memory(data.remaining()))
                    {
                        return Poll::Ready(Err(RefusalReason::Overload));
                    }
                    this.bytes.push(data);
                }
            }
        }
        if this.lease.is_none() {
            let mut lease = budget.lease();
            if !lease.grow(BodyBytes::memory(this.bytes.len())) {
                return Poll::Ready(Err(RefusalReason::Overload));
            }
            *this.lease = Some(lease);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::Full;
    use tokio_test::task::spawn;

    use super::*;

    /// The bytes that have come of a body whose rest has not.
    struct Begun(Option<Bytes>);

    impl Body for Begun {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    /// Reads a body of which so many bytes have come.
    async fn read(bytes: &'static [u8], budget: &ByteBudget) -> Result<Bytes, RefusalReason> {
        let body = Begun(Some(Bytes::from_static(bytes)));
        let mut read = Box::pin(ReadBody::new(body, 100, Duration::from_secs(10), None));
        std::future::poll_fn(|cx| read.as_mut().poll(budget, cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_are_waited_for_share_a_budget() {
        let budget = ByteBudget::new(40);
        let mut first = spawn(read(&[b' '; 15], &budget));
        assert!(first.poll().is_pending());
        assert_eq!(read(&[b' '; 6], &budget).await, Err(RefusalReason::Overload));
        let mut second = spawn(read(&[b' '; 5], &budget));
        assert!(second.poll().is_pending());
        drop(first);
        assert!(spawn(read(&[b' '; 15], &budget)).poll().is_pending());
        // One that arrives at once needs none of it.
        let whole = Full::new(Bytes::from_static(&[b' '; 100]));
        let mut whole = Box::pin(ReadBody::new(whole, 100, Duration::MAX, None));
        let whole = std::future::poll_fn(|cx| whole.as_mut().poll(&budget, cx)).await;
        assert_eq!(whole.unwrap().len(), 100);
    }
}
