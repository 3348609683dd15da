use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use foreman_protocol::http1::Place;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::builder::ListenerLimits;
use super::connection::RESPONSE_TIMEOUT;

/// What a connection is doing, which decides how long it may take. The service and the I/O of the connection report to it.
///
/// hyper has one timeout for an idle connection and for the head of a request. An idle connection may wait for minutes, and a head may
/// not, so the timeouts are here.
#[derive(Debug)]
pub(super) struct Activity {
    phase: Mutex<Phase>,
    place: Place,
    limits: ListenerLimits,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Open for the next request, of which no byte has come.
    Idle { since: Instant },
    /// Waiting for the head of a request. `begun`: bytes of it have come. The first head of a connection counts from the accept.
    Head { since: Instant, begun: bool },
    /// The request that began then is handled.
    Request { since: Instant },
    /// Its response is being written.
    Response { since: Instant },
}

impl Activity {
    pub(super) fn new(place: Place, limits: ListenerLimits) -> Arc<Self> {
        Arc::new(Self { phase: Mutex::new(Phase::Head { since: Instant::now(), begun: false }), place, limits })
    }

    /// Completes when the connection has to make room for another.
    pub(super) async fn evicted(&self) {
        self.place.evicted().await;
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.place.is_evicted()
    }

    /// When the connection is closed, unless something happens until then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limits = &self.limits;
        let (since, limit) = match *self.lock() {
            Phase::Idle { since } => (since, limits.idle_timeout),
            Phase::Head { since, .. } => (since, limits.header_timeout),
            // The receiver responds with 408 at the deadline. The rest is for a peer that does not read the response.
            Phase::Request { since } | Phase::Response { since } => {
                (since, limits.request_timeout.saturating_add(RESPONSE_TIMEOUT))
            }
        };
        since.checked_add(limit)
    }

    /// Whether a request is being handled, or its response is being written.
    pub(super) fn has_request(&self) -> bool {
        matches!(*self.lock(), Phase::Request { .. } | Phase::Response { .. })
    }

    /// Whether bytes of a head have come, and more are awaited.
    pub(super) fn is_reading_head(&self) -> bool {
        matches!(*self.lock(), Phase::Head { begun: true, .. })
    }

    /// The head is complete. Returns when the whole request has to be.
    pub(super) fn request(&self) -> Option<Instant> {
        self.place.occupy();
        let mut phase = self.lock();
        let (Phase::Idle { since } | Phase::Head { since, .. } | Phase::Request { since } | Phase::Response { since }) =
            *phase;
        // A request that came with the one before has begun now.
        let since = if matches!(*phase, Phase::Head { .. }) { since } else { Instant::now() };
        *phase = Phase::Request { since };
        since.checked_add(self.limits.request_timeout)
    }

    /// The service has returned the response.
    pub(super) fn response(&self) {
        let mut phase = self.lock();
        if let Phase::Request { since } = *phase {
            *phase = Phase::Response { since };
        }
    }

    /// Bytes have come.
    fn read(&self) {
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Idle { .. } => *phase = Phase::Head { since: Instant::now(), begun: true },
            Phase::Head { begun, .. } => *begun = true,
            Phase::Request { .. } | Phase::Response { .. } => {}
        }
    }

    /// Everything that hyper has written is sent.
    fn flushed(&self) {
        let mut phase = self.lock();
        if let Phase::Response { .. } = *phase {
            *phase = Phase::Idle { since: Instant::now() };
            drop(phase);
            self.place.wait();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The I/O of a connection, which reports to its [`Activity`].
pub(super) struct Watched<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<'_, I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut *self.io).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(read)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<'_, I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, bytes)
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
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
