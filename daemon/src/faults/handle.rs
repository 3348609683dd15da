use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::events::{EventFaults, EventScope};
use super::jobs::JobFaults;
use super::requests::{RequestFaults, RequestScope};
use super::state::State;
use super::{Seen, state};

/// The faults of a [`Daemon`](crate::Daemon). A test sets them while the daemon runs.
///
/// Cloning is cheap, and clones share their state. The [module](super) lists all faults.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    seen: watch::Sender<Seen>,
}

impl Faults {
    /// Creates a handle with no fault set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Faults of `POST /jobs`.
    pub fn submissions(&self) -> RequestFaults<'_> {
        RequestFaults::new(self, RequestScope::Submissions)
    }

    /// Faults of `GET /jobs/{id}`.
    pub fn polls(&self) -> RequestFaults<'_> {
        RequestFaults::new(self, RequestScope::Polls)
    }

    /// Faults of `DELETE /jobs/{id}`.
    pub fn cancels(&self) -> RequestFaults<'_> {
        RequestFaults::new(self, RequestScope::Cancels)
    }

    /// Faults of every request except `GET /healthz`. A fault of the request's kind comes first.
    pub fn requests(&self) -> RequestFaults<'_> {
        RequestFaults::new(self, RequestScope::All)
    }

    /// Faults of every event.
    pub fn events(&self) -> EventFaults<'_> {
        EventFaults::new(self, EventScope::All)
    }

    /// Faults of terminal events, which report the end of a job. They come before those of [`events`](Self::events).
    pub fn last_events(&self) -> EventFaults<'_> {
        EventFaults::new(self, EventScope::Terminal)
    }

    /// Faults of jobs.
    pub fn jobs(&self) -> JobFaults<'_> {
        JobFaults::new(self)
    }

    /// Clears all faults, sends the events that are held back and resumes the stalled jobs. The counters stay.
    pub fn clear(&self) {
        self.state().clear();
    }

    /// How often each fault has occurred so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.0.seen.borrow()
    }

    /// Waits until the counters meet a condition, such as `|seen| seen.stalled_jobs == 1`, and returns them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn until(&self, mut condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut watch = self.0.seen.subscribe();
        loop {
            let seen = *watch.borrow_and_update();
            // The sender is in `self`, so `changed` cannot fail.
            if condition(&seen) || watch.changed().await.is_err() {
                return seen;
            }
        }
    }

    /// Counts a fault that occurs.
    pub(super) fn record(&self, count: impl FnOnce(&mut Seen)) {
        self.0.seen.send_modify(count);
    }

    /// Ignores poisoning: no change of the state can panic halfway.
    pub(super) fn state(&self) -> MutexGuard<'_, state::State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("seen", &self.seen()).finish_non_exhaustive()
    }
}
