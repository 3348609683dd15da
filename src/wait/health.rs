use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::submission::TokenId;

/// How long after a poll returned a result its event may still come before it counts as missed.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How many results may wait for their events at once. Beyond that, results are not checked.
const LIMIT: usize = 1024;

/// Whether webhooks arrive.
///
/// A poll may return a result milliseconds before its event comes. So push has *missed* an event only if the event has not come within
/// [`GRACE`] after the poll.
#[derive(Debug)]
pub(super) struct WebhookHealth {
    state: AtomicU8,
    /// The results that a poll returned and no event has yet, oldest first.
    overdue: Mutex<VecDeque<(TokenId, Instant)>>,
}

const UNPROVEN: u8 = 0;
const WORKING: u8 = 1;
const MISSED: u8 = 2;

impl WebhookHealth {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(UNPROVEN), overdue: Mutex::default() }
    }

    pub(super) fn is_working(&self) -> bool {
        self.state.load(Relaxed) == WORKING
    }

    /// An event came.
    pub(super) fn arrived(&self) {
        self.state.store(WORKING, Relaxed);
    }

    /// A poll returned the result of a submission at `now`, before its event. Returns whether the event is awaited, and whether somebody
    /// has to check it.
    pub(super) fn await_event(&self, token: TokenId, now: Instant) -> Awaited {
        let mut overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = now.checked_add(GRACE).filter(|_| self.is_working() && overdue.len() < LIMIT) else {
            return Awaited::No;
        };
        // Nobody checks if the runtime of the last check has ended.
        let unchecked = overdue.front().is_none_or(|(_, until)| now.saturating_duration_since(*until) > GRACE);
        overdue.push_back((token, until));
        if unchecked { Awaited::Unchecked } else { Awaited::Checked }
    }

    /// The results whose events are awaited.
    pub(super) fn awaited(&self) -> Vec<TokenId> {
        let overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        overdue.iter().map(|(token, _)| *token).collect()
    }

    /// Removes the results whose grace is over at `now`. `is_missing` returns whether the event of one has still not come.
    pub(super) fn check(&self, now: Instant, mut is_missing: impl FnMut(TokenId) -> bool) -> Checked {
        let mut overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = 0;
        while let Some((token, until)) = overdue.front().copied() {
            if until > now {
                break;
            }
            overdue.pop_front();
            missing += u64::from(is_missing(token));
        }
        let turned = missing > 0 && self.state.compare_exchange(WORKING, MISSED, Relaxed, Relaxed).is_ok();
        Checked { missing, turned, next: overdue.front().map(|(_, until)| *until) }
    }
}

/// The outcome of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// How many events have not come.
    pub(super) missing: u64,
    /// Webhooks counted as working before.
    pub(super) turned: bool,
    /// When to check again.
    pub(super) next: Option<Instant>,
}

/// Whether the event of a result is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    No,
    /// Somebody has to check it after [`GRACE`].
    Unchecked,
    /// A check of earlier ones is scheduled, and includes it.
    Checked,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn awaited_events_are_bounded_and_checked_in_order() {
        let (health, now) = (WebhookHealth::new(), Instant::now());
        let token = || TokenId::random(None);
        assert_eq!(health.await_event(token(), now), Awaited::No, "webhooks are not proven");
        health.arrived();
        let (first, second) = (token(), token());
        assert_eq!(health.await_event(first, now), Awaited::Unchecked);
        assert_eq!(health.await_event(second, now + Duration::from_secs(1)), Awaited::Checked);
        for _ in 2..LIMIT {
            assert_eq!(health.await_event(token(), now + Duration::from_secs(2)), Awaited::Checked);
        }
        assert_eq!(health.await_event(token(), now), Awaited::No, "over the limit");

        let nothing = |next| Checked { missing: 0, turned: false, next: Some(next) };
        assert_eq!(health.check(now + GRACE - Duration::from_millis(1), |_| true), nothing(now + GRACE));
        let mut checked = Vec::new();
        let is_missing = |token| {
            checked.push(token);
            false
        };
        let next = now + GRACE + Duration::from_secs(1);
        assert_eq!(health.check(now + GRACE, is_missing), nothing(next));
        assert_eq!(checked, [first]);
        assert!(health.is_working());
        let later = next + Duration::from_secs(1);
        assert_eq!(health.check(next, |_| true), Checked { missing: 1, turned: true, next: Some(later) });
        assert!(!health.is_working());
        assert_eq!(health.awaited().len(), LIMIT - 2);
        let missing = (LIMIT - 2) as u64;
        assert_eq!(health.check(later, |_| true), Checked { missing, turned: false, next: None });

        // A check that was scheduled on a runtime that has ended is scheduled again.
        health.arrived();
        assert_eq!(health.await_event(token(), later), Awaited::Unchecked);
        assert_eq!(health.await_event(token(), later + GRACE), Awaited::Checked);
        assert_eq!(health.await_event(token(), later + GRACE * 3), Awaited::Unchecked);
    }
}
