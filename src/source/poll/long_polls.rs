use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a lease outlives the time for which the daemon is asked to hold the response.
const MARGIN: Duration = Duration::from_secs(30);

/// Bounds the long polls of one client that are in flight, and stores whether the daemon supports them.
///
/// A long poll takes a lease that expires by itself: a wait that its caller does not poll, or that was leaked, does not hold it for
/// ever. Without a lease a poll is an ordinary one, so no poll ever waits for a lease.
#[derive(Debug)]
pub(super) struct LongPolls {
    limit: usize,
    /// When each lease expires.
    leases: Mutex<Vec<Instant>>,
    /// The daemon was asked for a long poll and did not apply the preference.
    unsupported: AtomicBool,
}

/// The right to one long poll. Given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    expires: Instant,
    long_polls: Arc<LongPolls>,
}

impl LongPolls {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, leases: Mutex::default(), unsupported: AtomicBool::new(false) })
    }

    pub(super) fn is_supported(&self) -> bool {
        !self.unsupported.load(Relaxed)
    }

    /// A long poll returned; the daemon applied the preference or did not.
    pub(super) fn learn(&self, supported: bool) {
        self.unsupported.store(!supported, Relaxed);
    }

    /// A lease for a long poll that the daemon is asked to hold for `wait`, if fewer than the limit are in use.
    pub(super) fn lease(self: &Arc<Self>, now: Instant, wait: Duration) -> Option<Lease> {
        let expires = now.checked_add(wait.saturating_add(MARGIN))?;
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if leases.len() >= self.limit {
            leases.retain(|expires| *expires > now);
        }
        if leases.len() >= self.limit {
            return None;
        }
        leases.push(expires);
        Some(Lease { expires, long_polls: Arc::clone(self) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = self.long_polls.leases.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have expired. Leases that expire at the same time are alike.
        if let Some(at) = leases.iter().position(|expires| *expires == self.expires) {
            leases.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leases_are_limited_returned_and_expire() {
        let (long_polls, now) = (LongPolls::new(2), Instant::now());
        let wait = Duration::from_secs(20);
        let first = long_polls.lease(now, wait).unwrap();
        std::mem::forget(long_polls.lease(now, wait).unwrap());
        assert!(long_polls.lease(now, wait).is_none());
        drop(first);
        let second = long_polls.lease(now, wait).unwrap();
        assert!(long_polls.lease(now, wait).is_none());
        // The leaked one expires, and so does one that is still there.
        let later = now + wait + MARGIN;
        let _third = (long_polls.lease(later, wait).unwrap(), long_polls.lease(later, wait).unwrap());
        drop(second);
        assert!(long_polls.lease(later, wait).is_none(), "an expired lease is not returned twice");
    }
}
