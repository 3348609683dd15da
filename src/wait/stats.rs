use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the waits of one [`Wait`](super::Wait) (and its clones) have done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitStats {
    /// Waits begun.
    pub started: u64,
    /// Submissions sent, without those that a layer inside repeats.
    pub submitted: u64,
    /// Waits that found the job known already: of a clone that was submitted before, or by its id.
    pub attached: u64,
    /// Waits that ended with a result because an event told it.
    pub finished_by_webhook: u64,
    /// Waits that ended with a result because a poll told it.
    pub finished_by_poll: u64,
    /// Of these, the ones whose event had not come although webhooks were working: what polling rescued.
    pub rescued: u64,
    /// Waits that ended with an error.
    pub failed: u64,
    /// Waits that were dropped before they ended.
    pub dropped: u64,
    /// Polls answered.
    pub polls: u64,
    /// Polls that failed.
    pub poll_failures: u64,
    /// Submissions whose answer was lost.
    pub lost_responses: u64,
    /// Jobs that nobody waited for any longer and that the drop policy cancelled (or found ended).
    pub cancelled: u64,
    /// The same, where the cancel could not be done: no runtime, no service for it, no job id, or no answer.
    pub cancels_failed: u64,
}

impl WaitStats {
    /// How many waits are going on.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let ended = self.finished_by_webhook + self.finished_by_poll + self.failed + self.dropped;
        self.started.saturating_sub(ended)
    }
}

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> WaitStats {
                WaitStats { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters!(
    started,
    submitted,
    attached,
    finished_by_webhook,
    finished_by_poll,
    rescued,
    failed,
    dropped,
    polls,
    poll_failures,
    lost_responses,
    cancelled,
    cancels_failed,
);

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}
