use std::sync::{Arc, Mutex, PoisonError};

use foreman_protocol::http1::{ConnectionActivity, Place};
use tokio::time::Instant;

use super::builder::ListenerLimits;
use super::connection::RESPONSE_TIMEOUT;

/// What a connection is doing. An idle one may wait for minutes, and one whose head has begun may not.
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

    pub(super) fn place(&self) -> &Place {
        &self.place
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionActivity for Activity {
    fn deadline(&self) -> Option<Instant> {
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

    fn read(&self) {
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Idle { .. } => *phase = Phase::Head { since: Instant::now(), begun: true },
            Phase::Head { begun, .. } => *begun = true,
            Phase::Request { .. } | Phase::Response { .. } => {}
        }
    }

    fn flushed(&self) {
        let mut phase = self.lock();
        if let Phase::Response { .. } = *phase {
            *phase = Phase::Idle { since: Instant::now() };
            drop(phase);
            self.place.wait();
        }
    }
}
