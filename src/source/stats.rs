use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::submission::EventOutcome;

/// What a [`Notifier`](crate::Notifier) has received since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookStats {
    /// Signed events with the result of a job.
    pub finished: u64,
    /// Events with an earlier state, and, without a secret, all events.
    pub hints: u64,
    /// Events of a job whose result was known already.
    pub duplicates: u64,
    /// Events of an abandoned submission.
    pub late: u64,
    refusals: Refusals,
}

/// A count for each reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Refusals([u64; RefusalReason::ALL.len()]);

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = RefusalReason::ALL.iter().map(|why| (why, self.0[*why as usize]));
        f.debug_map().entries(counts.filter(|(_, count)| *count > 0)).finish()
    }
}

impl WebhookStats {
    /// How many requests were refused for this reason.
    #[must_use]
    pub fn refused(&self, why: RefusalReason) -> u64 {
        self.refusals.0[why as usize]
    }

    /// How many requests were refused for any reason.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.0.iter().sum()
    }
}

/// Why a webhook request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// Not a POST.
    Method,
    /// An unknown token: forged, or made by another notifier. (A token of a submission that is over gets a 204.)
    UnknownToken,
    /// A body over the limit.
    TooLarge,
    /// A compressed body.
    MediaType,
    /// A body that did not arrive in time, or was cut off.
    Body,
    /// No valid signature.
    Signature,
    /// A signed timestamp that is too old or in the future.
    Timestamp,
    /// A body that is not the JSON of a job.
    Json,
    /// An event of another job than the token's.
    WrongJob,
    /// Too many connections, or the receiver is shutting down.
    Overload,
}

impl RefusalReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Method,
        Self::UnknownToken,
        Self::TooLarge,
        Self::MediaType,
        Self::Body,
        Self::Signature,
        Self::Timestamp,
        Self::Json,
        Self::WrongJob,
        Self::Overload,
    ];
}

#[derive(Debug, Default)]
pub(super) struct WebhookCounters {
    finished: AtomicU64,
    hints: AtomicU64,
    duplicates: AtomicU64,
    late: AtomicU64,
    refusals: [AtomicU64; RefusalReason::ALL.len()],
}

impl WebhookCounters {
    pub(super) fn event(&self, outcome: EventOutcome) {
        let counter = match outcome {
            EventOutcome::Finished => &self.finished,
            EventOutcome::Hint => &self.hints,
            EventOutcome::Duplicate => &self.duplicates,
            EventOutcome::Late => &self.late,
            EventOutcome::WrongJob => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, why: RefusalReason) {
        self.refusals[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> WebhookStats {
        WebhookStats {
            finished: self.finished.load(Relaxed),
            hints: self.hints.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            late: self.late.load(Relaxed),
            refusals: Refusals(std::array::from_fn(|at| self.refusals[at].load(Relaxed))),
        }
    }
}
