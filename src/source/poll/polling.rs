use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::PollPolicy;

/// What the polls of one client share: the policy, and what is known of how the daemon answers.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(super) policy: PollPolicy,
    /// The daemon was asked to hold its answer and did not say that it would.
    holds_not: AtomicBool,
    /// Half of the polls in flight may be held: the others get their turn however long these take.
    holds: Arc<Semaphore>,
}

/// A poll that the daemon is asked to hold.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) wait: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Polling {
    pub(crate) fn new(policy: PollPolicy) -> Arc<Self> {
        let holds = Arc::new(Semaphore::new(policy.in_flight.div_ceil(2).min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { policy, holds_not: AtomicBool::new(false), holds })
    }

    /// Whether polls may be held by the daemon.
    pub(super) fn holds(&self) -> bool {
        self.policy.long_poll.as_secs() > 0 && !self.holds_not.load(Relaxed)
    }

    /// A place among the polls that are held, if one is free.
    pub(super) fn hold(&self) -> Option<Hold> {
        let wait = self.policy.long_poll;
        if !self.holds() {
            return None;
        }
        let permit = Arc::clone(&self.holds).try_acquire_owned().ok()?;
        Some(Hold { wait, _permit: permit })
    }

    /// The daemon was asked to hold its answer: did it say that it would?
    pub(super) fn learn(&self, held: bool) {
        self.holds_not.store(!held, Relaxed);
    }
}
