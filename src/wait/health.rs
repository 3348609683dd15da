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

    /// A poll returned the result of a submission at `now`, before its event. Returns whether the event is awaited, and whether it is
    /// the only one.
    pub(super) fn await_event(&self, token: TokenId, now: Instant) -> Awaited {
        let mut overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = now.checked_add(GRACE).filter(|_| self.is_working() && overdue.len() < LIMIT) else {
            return Awaited::No;
        };
        overdue.push_back((token, until));
        if overdue.len() == 1 { Awaited::Only } else { Awaited::Also }
    }

    /// The results whose events are awaited.
    pub(super) fn awaited(&self) -> Vec<TokenId> {
        let overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        overdue.iter().map(|(token, _)| *token).collect()
    }

    /// Removes the results whose grace is over at `now`. `is_missing` returns whether the event of one has still not come. Returns the
    /// number of missing events, and when to check again.
    pub(super) fn check(&self, now: Instant, mut is_missing: impl FnMut(TokenId) -> bool) -> (u64, Option<Instant>) {
        let mut overdue = self.overdue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = 0;
        while let Some((token, until)) = overdue.front().copied() {
            if until > now {
                break;
            }
            overdue.pop_front();
            missing += u64::from(is_missing(token));
        }
        if missing > 0 {
            let _ = self.state.compare_exchange(WORKING, MISSED, Relaxed, Relaxed);
        }
        (missing, overdue.front().map(|(_, until)| *until))
    }
}

/// Whether the event of a result is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    No,
    /// It is the only one: somebody has to check it after [`GRACE`].
    Only,
    /// Others are awaited too, and the check of those is on its way.
    Also,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn awaited_events_are_bounded_and_checked_in_order() {
        let (health, now) = (WebhookHealth::new(), Instant::now());
        let token = || TokenId::random().unwrap();
        assert_eq!(health.await_event(token(), now), Awaited::No, "webhooks are not proven");
        health.arrived();
        let (first, second) = (token(), token());
        assert_eq!(health.await_event(first, now), Awaited::Only);
        assert_eq!(health.await_event(second, now + Duration::from_secs(1)), Awaited::Also);
        for _ in 2..LIMIT {
            assert_eq!(health.await_event(token(), now + Duration::from_secs(2)), Awaited::Also);
        }
        assert_eq!(health.await_event(token(), now), Awaited::No, "over the limit");

        assert_eq!(health.check(now + GRACE - Duration::from_millis(1), |_| true), (0, Some(now + GRACE)));
        let mut checked = Vec::new();
        let is_missing = |token| {
            checked.push(token);
            false
        };
        let next = now + GRACE + Duration::from_secs(1);
        assert_eq!(health.check(now + GRACE, is_missing), (0, Some(next)));
        assert_eq!(checked, [first]);
        assert!(health.is_working());
        assert_eq!(health.check(next, |_| true), (1, Some(next + Duration::from_secs(1))));
        assert!(!health.is_working());
        assert_eq!(health.awaited().len(), LIMIT - 2);
    }
}
