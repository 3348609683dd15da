use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use foreman_protocol::http1::Place;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::ServerLimits;

/// After so long without progress of its peer a connection makes room for others.
const STUCK: Duration = Duration::from_secs(1);

/// What a connection is doing, which decides how long it may take. The service and the I/O of the connection report to it.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    place: Place,
    limits: ServerLimits,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the peer has read nothing of what is to be written, and whether that is long enough to make room.
    blocked: Option<(Instant, bool)>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waiting for a request, or for the rest of its head, since then.
    Waiting { since: Instant },
    /// A request is handled, or its response is being made.
    Request,
    /// The response is complete, and the rest of it is being written.
    Flushing,
}

impl Activity {
    pub(super) fn new(place: Place, limits: ServerLimits) -> Arc<Self> {
        let phase = Phase::Waiting { since: Instant::now() };
        Arc::new(Self { state: Mutex::new(State { phase, blocked: None }), place, limits })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// When the connection is closed, unless something happens until then. `None` while a request is handled.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let (since, limit) = match (state.blocked, state.phase) {
            (Some((since, false)), _) => (since, STUCK.min(self.limits.write_timeout)),
            (Some((since, true)), _) => (since, self.limits.write_timeout),
            (None, Phase::Waiting { since }) => (since, self.limits.header_timeout),
            (None, Phase::Request | Phase::Flushing) => return None,
        };
        since.checked_add(limit)
    }

    /// Whether it loses nothing that its peer would read if it makes room.
    pub(super) fn can_make_room(&self) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Waiting { .. }) || matches!(state.blocked, Some((_, true)))
    }

    /// The deadline has passed. Returns whether the connection is to be closed. If its peer has read nothing for a while, it is the next to
    /// make room, and has another deadline.
    pub(super) fn elapsed(&self) -> bool {
        let mut state = self.state();
        match &mut state.blocked {
            Some((since, stuck @ false)) if since.elapsed() < self.limits.write_timeout => {
                *stuck = true;
                drop(state);
                self.place.wait();
                false
            }
            _ => true,
        }
    }

    /// The head of a request is complete.
    pub(super) fn request(&self) {
        self.place.occupy();
        self.state().phase = Phase::Request;
    }

    /// Nothing more will be added to the response.
    fn response_complete(&self) {
        self.state().phase = Phase::Flushing;
    }

    /// All that there is to write is written.
    fn flushed(&self) {
        let mut state = self.state();
        state.blocked = None;
        if let Phase::Flushing = state.phase {
            state.phase = Phase::Waiting { since: Instant::now() };
            drop(state);
            self.place.wait();
        }
    }

    fn wrote<T>(&self, written: &Poll<T>) {
        let mut state = self.state();
        match written {
            Poll::Ready(_) => {
                let was_stuck = matches!(state.blocked.take(), Some((_, true)));
                if was_stuck && !matches!(state.phase, Phase::Waiting { .. }) {
                    self.place.occupy();
                }
            }
            Poll::Pending => {
                state.blocked.get_or_insert_with(|| (Instant::now(), false));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The I/O of a connection, which reports to its [`Activity`].
pub(super) struct Watched<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<'_, I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<'_, I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write(cx, bytes);
        self.activity.wrote(&written);
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
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io).poll_write_vectored(cx, slices);
        self.activity.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// The body of a response, which reports its end.
pub(super) struct WatchedBody {
    body: Body,
    activity: Arc<Activity>,
}

impl WatchedBody {
    pub(super) fn new(body: Body, activity: Arc<Activity>) -> Self {
        Self { body, activity }
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// hyper drops a body once it has all of it.
impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.activity.response_complete();
    }
}

/// For a deadline that never comes.
pub(super) fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 60 * 60)
}
