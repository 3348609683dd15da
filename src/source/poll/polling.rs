use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PollPolicy;

/// What the polls of one client share: the policy, the places in flight, and what is known of how the daemon answers.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(super) policy: PollPolicy,
    /// First come, first served.
    pub(super) flights: Arc<Semaphore>,
    /// Half of the polls in flight may be held: the others get their turn however long these take.
    holds: Arc<Semaphore>,
    /// The daemon was asked to hold its answer and did not say that it would.
    holds_not: AtomicBool,
}

impl Polling {
    pub(crate) fn new(policy: PollPolicy) -> Arc<Self> {
        let places = policy.in_flight.min(Semaphore::MAX_PERMITS);
        // With one place, a held poll would keep all others waiting for as long as it is held.
        let (flights, holds) = (Semaphore::new(places), Semaphore::new(places / 2));
        Arc::new(Self { policy, flights: Arc::new(flights), holds: Arc::new(holds), holds_not: AtomicBool::new(false) })
    }

    /// Whether polls may be held by the daemon.
    pub(super) fn holds(&self) -> bool {
        self.policy.long_poll.as_secs() > 0 && !self.holds_not.load(Relaxed)
    }

    /// A place among the polls that are held, if one is free.
    pub(super) fn hold(&self) -> Option<OwnedSemaphorePermit> {
        if self.holds() { Arc::clone(&self.holds).try_acquire_owned().ok() } else { None }
    }

    /// The daemon was asked to hold its answer: did it say that it would?
    pub(super) fn learn(&self, held: bool) {
        self.holds_not.store(!held, Relaxed);
    }
}
