use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::submission::Delivered;

/// What a [`Notifier`](crate::Notifier) has seen since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushStats {
    /// Signed events that told the end of a job that was waiting.
    pub finished: u64,
    /// Events that told something on the way, or, without a secret, that made a wait ask.
    pub hints: u64,
    /// Events of a job whose end was known already.
    pub duplicates: u64,
    /// Events of a job that nobody waits for any longer.
    pub late: u64,
    refusals: Refusals,
}

/// A count for each reason.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Refusals([u64; Refusal::ALL.len()]);

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Refusal::ALL.iter().map(|why| (why, self.0[*why as usize]));
        f.debug_map().entries(counts.filter(|(_, count)| *count > 0)).finish()
    }
}

impl PushStats {
    /// How many requests were refused for that reason.
    #[must_use]
    pub fn refused(&self, why: Refusal) -> u64 {
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
pub enum Refusal {
    /// Not a POST.
    Method,
    /// A token that leads nowhere: forged, or of a job that is over.
    UnknownToken,
    /// A body over the limit.
    TooLarge,
    /// A compressed body.
    MediaType,
    /// A body that did not come in time, or broke off.
    Body,
    /// No signature, or a wrong one.
    Signature,
    /// A signature that is too old or from the future.
    Timestamp,
    /// A body that is not a job's JSON.
    Json,
    /// The event of another job than the token's.
    ForeignJob,
    /// Too many connections, or the receiver is shutting down.
    Overload,
}

impl Refusal {
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
        Self::ForeignJob,
        Self::Overload,
    ];
}

#[derive(Debug, Default)]
pub(super) struct PushCounters {
    finished: AtomicU64,
    hints: AtomicU64,
    duplicates: AtomicU64,
    late: AtomicU64,
    refusals: [AtomicU64; Refusal::ALL.len()],
}

impl PushCounters {
    pub(super) fn delivered(&self, what: Delivered) {
        let counter = match what {
            Delivered::Finished => &self.finished,
            Delivered::Hint => &self.hints,
            Delivered::Duplicate => &self.duplicates,
            Delivered::Late => &self.late,
            Delivered::Foreign => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.refusals[why as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> PushStats {
        PushStats {
            finished: self.finished.load(Relaxed),
            hints: self.hints.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            late: self.late.load(Relaxed),
            refusals: Refusals(std::array::from_fn(|at| self.refusals[at].load(Relaxed))),
        }
    }
}
