use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::events::{EventFaults, EventScope};
use super::jobs::JobFaults;
use super::requests::{RequestFaults, RequestScope};
use super::state::State;
use super::{Seen, state};

/// The faults of a [`Daemon`](crate::Daemon): the test keeps a clone and changes them while the daemon runs.
///
/// Cloning is cheap, and clones are the same faults. See the [module](super) for all of them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    seen: watch::Sender<Seen>,
}

impl Faults {
    /// No faults yet.
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

    /// Faults of every request but `GET /healthz`, beside those of its kind.
    pub fn requests(&self) -> RequestFaults<'_> {
        RequestFaults::new(self, RequestScope::All)
    }

    /// Faults of every event.
    pub fn events(&self) -> EventFaults<'_> {
        EventFaults::new(self, EventScope::All)
    }

    /// Faults of the events that tell the end of a job, beside those of every event.
    pub fn last_events(&self) -> EventFaults<'_> {
        EventFaults::new(self, EventScope::Last)
    }

    /// Faults of the jobs themselves.
    pub fn jobs(&self) -> JobFaults<'_> {
        JobFaults::new(self)
    }

    /// Takes all faults back; events that are held are sent now, and jobs that are stalled are begun. What was seen stays.
    pub fn clear(&self) {
        self.state().clear();
    }

    /// Which of them have happened so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        *self.0.seen.borrow()
    }

    /// Waits until what was seen is so, such as `|seen| seen.stalled_jobs == 1`, and gives it.
    ///
    /// # Cancel safety
    ///
    /// It only looks.
    pub async fn until(&self, mut is_so: impl FnMut(&Seen) -> bool) -> Seen {
        let mut watch = self.0.seen.subscribe();
        loop {
            let seen = *watch.borrow_and_update();
            // The sender is in `self`, so there is always a next change to wait for.
            if is_so(&seen) || watch.changed().await.is_err() {
                return seen;
            }
        }
    }

    /// Notes that a fault happens.
    pub(super) fn note(&self, happened: impl FnOnce(&mut Seen)) {
        self.0.seen.send_modify(happened);
    }

    /// Every change of it is whole before it can panic, so that a poisoned lock is as good as another.
    pub(super) fn state(&self) -> MutexGuard<'_, state::State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("seen", &self.seen()).finish_non_exhaustive()
    }
}
