use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::error::MAX_RETRY_AFTER;

/// Until when the daemon has asked to send no submissions, or no cancels (`Retry-After` with 429 or 503).
///
/// The daemon asks one request and means all: without this, each further one would be sent once to be refused.
#[derive(Debug, Default)]
pub(super) struct SlowDown(Mutex<Option<Instant>>);

impl SlowDown {
    /// A request failed.
    pub(super) fn refused(&self, error: &Error) {
        let Some(pause) = error.asked_pause() else { return };
        let until = Instant::now() + pause.min(MAX_RETRY_AFTER);
        let mut paused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = (*paused).max(Some(until));
    }

    /// The end of the pause, from `first_call`. `None` if there is none.
    pub(super) fn until(&self, first_call: Instant) -> Option<Duration> {
        Some(self.end()?.saturating_duration_since(first_call))
    }

    /// The end of the pause. `None` if there is none.
    pub(super) fn end(&self) -> Option<Instant> {
        let mut paused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = paused.filter(|until| *until > Instant::now());
        *paused
    }
}
