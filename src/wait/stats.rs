use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts of the waits of one [`Wait`](super::Wait) and its clones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitStats {
    /// Waits started.
    pub started: u64,
    /// Submissions sent, without the retries of a layer inside.
    pub submitted: u64,
    /// Waits that attached to a job: on a clone of a request that another wait sent, or by id.
    pub attached: u64,
    /// Waits that ended with a result because of a webhook.
    pub finished_by_webhook: u64,
    /// Waits that ended with a result because of an event of the event stream.
    pub finished_by_event_stream: u64,
    /// Waits that ended with a result because of a poll that no event caused.
    pub finished_by_poll: u64,
    /// Of these, the ones whose event did not come within 5 s either, although webhooks were working.
    pub rescued: u64,
    /// Waits that ended with an error.
    pub failed: u64,
    /// Waits that were dropped before they ended.
    pub dropped: u64,
    /// Polls that returned a state.
    pub polls: u64,
    /// Polls that failed.
    pub poll_failures: u64,
    /// How long a poll that becomes due now is delayed by the rate limit
    /// ([`PollPolicyBuilder::max_rate`](crate::source::PollPolicyBuilder::max_rate)): every waiting job is polled within its interval and
    /// this. Zero while the rate suffices.
    pub poll_backlog: Duration,
    /// Submissions whose response was lost.
    pub lost_responses: u64,
    /// Abandoned jobs that the drop policy cancelled, or found to have ended.
    pub cancelled: u64,
    /// Abandoned jobs that could not be cancelled: no runtime, no service for it, no job id, or the cancel failed.
    pub cancels_failed: u64,
}

impl WaitStats {
    /// How many waits have started and not ended.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let finished = self.finished_by_webhook + self.finished_by_event_stream + self.finished_by_poll;
        self.started.saturating_sub(finished + self.failed + self.dropped)
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
                WaitStats { $($name: self.$name.0.load(Relaxed),)* poll_backlog: Duration::ZERO }
            }
        }
    };
}

counters!(
    started,
    submitted,
    attached,
    finished_by_webhook,
    finished_by_event_stream,
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
        self.add_many(1);
    }

    pub(super) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}
