use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a connection is doing, which decides how long it may take. Its I/O reports to it, by [`Watched`].
///
/// hyper has one timeout for an idle connection and for the head of a request, and none for a peer that does not read.
pub trait ConnectionActivity {
    /// When the connection is closed, unless something happens until then. `None` is never.
    fn deadline(&self) -> Option<Instant>;

    /// The deadline has passed. Returns whether the connection is to be closed. If not, there is another deadline.
    fn elapsed(&self) -> bool {
        true
    }

    /// Bytes have come.
    fn read(&self) {}

    /// Bytes were to be written. `is_blocked`: the peer has not made room for any of them.
    fn wrote(&self, is_blocked: bool) {
        let _ = is_blocked;
    }

    /// All that there was to write is written.
    fn flushed(&self);
}

/// The I/O of a connection, which reports to its [`ConnectionActivity`].
#[derive(Debug)]
pub struct Watched<'a, I, A> {
    io: &'a mut I,
    activity: Arc<A>,
}

impl<'a, I, A> Watched<'a, I, A> {
    /// Reports what happens on this connection.
    pub fn new(io: &'a mut I, activity: Arc<A>) -> Self {
        Self { io, activity }
    }
}

impl<I: AsyncRead + Unpin, A: ConnectionActivity> AsyncRead for Watched<'_, I, A> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut *self.io).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin, A: ConnectionActivity> AsyncWrite for Watched<'_, I, A> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write(cx, bytes);
        self.activity.wrote(written.is_pending());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut *self.io).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write_vectored(cx, slices);
        self.activity.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A timer for the deadline of a connection, to be polled by [`poll_deadline`].
pub fn deadline_timer(activity: &impl ConnectionActivity) -> Sleep {
    sleep_until(activity.deadline().unwrap_or_else(far_future))
}

/// Completes when the connection is to be closed.
///
/// The deadline changes with each request. The timer is set anew only if it would fire too late, or has fired too early.
pub fn poll_deadline(activity: &impl ConnectionActivity, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    let deadline = || activity.deadline().unwrap_or_else(far_future);
    let mut at = deadline();
    if at < timer.deadline() {
        timer.as_mut().reset(at);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if at <= Instant::now() {
            if activity.elapsed() {
                return Poll::Ready(());
            }
            at = deadline();
        }
        timer.as_mut().reset(at);
    }
    Poll::Pending
}

/// For a deadline that never comes.
fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 60 * 60)
}
