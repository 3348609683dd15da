use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use foreman_protocol::http1::{ConnectionActivity, Place};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::ServerLimits;

/// After so long without progress of its peer a connection makes room for others.
const STUCK: Duration = Duration::from_secs(1);

/// What a connection is doing. While a request is handled, it has no deadline.
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

    /// Whether it loses nothing that its peer would read if it makes room.
    pub(super) fn can_make_room(&self) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Waiting { .. }) || matches!(state.blocked, Some((_, true)))
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionActivity for Activity {
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let (since, limit) = match (state.blocked, state.phase) {
            (Some((since, false)), _) => (since, STUCK.min(self.limits.write_timeout)),
            (Some((since, true)), _) => (since, self.limits.write_timeout),
            (None, Phase::Waiting { since }) => (since, self.limits.header_timeout),
            (None, Phase::Request | Phase::Flushing) => return None,
        };
        since.checked_add(limit)
    }

    /// If the peer has read nothing for a while, its connection is the next to make room, and has another deadline.
    fn elapsed(&self) -> bool {
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

    fn wrote(&self, is_blocked: bool) {
        let mut state = self.state();
        if is_blocked {
            state.blocked.get_or_insert_with(|| (Instant::now(), false));
            return;
        }
        let was_stuck = matches!(state.blocked.take(), Some((_, true)));
        if was_stuck && !matches!(state.phase, Phase::Waiting { .. }) {
            self.place.occupy();
        }
    }

    fn flushed(&self) {
        let mut state = self.state();
        state.blocked = None;
        if let Phase::Flushing = state.phase {
            state.phase = Phase::Waiting { since: Instant::now() };
            drop(state);
            self.place.wait();
        }
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
