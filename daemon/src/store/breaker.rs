use std::time::Duration;

use tokio::time::Instant;

/// The number of consecutive failures that open a breaker.
const FAILURES: u32 = 5;
/// The pause before the first probe. Each failed probe doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a receiver that works again gets its events within this time.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A circuit breaker of a destination whose last attempt failed. The first success removes it.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    /// When the last failure was reported.
    failed_at: Instant,
    /// The pause before the next probe, once the breaker is open.
    pause: Option<Duration>,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { failures: 0, failed_at: now, pause: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.pause.is_some()
    }

    pub(super) fn failed_at(&self) -> Instant {
        self.failed_at
    }

    /// When the next probe may be sent. `None` while the breaker is closed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.pause.map(|pause| self.failed_at + pause)
    }

    /// Counts a failed attempt. Returns whether it opens the breaker.
    pub(super) fn fail(&mut self, began: Instant, now: Instant) -> bool {
        match self.pause {
            // closed → closed or open
            None => {
                self.failures += 1;
                self.failed_at = now;
                self.pause = (self.failures >= FAILURES).then_some(FIRST_PAUSE);
                self.is_open()
            }
            // open → open: the attempt began before the breaker opened, and is no probe.
            Some(_) if began <= self.failed_at => false,
            // open → open: the probe failed.
            Some(pause) => {
                self.failed_at = now;
                self.pause = Some(pause.saturating_mul(2).min(MAX_PAUSE));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn consecutive_failures_open_and_failed_probes_back_off() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for failure in 1..FAILURES {
            assert!(!breaker.fail(start, start) && breaker.probe_at().is_none(), "{failure}");
        }
        assert!(breaker.fail(start, start));
        assert_eq!(breaker.probe_at(), Some(start + FIRST_PAUSE));
        let mut now = start;
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            let began = breaker.probe_at().unwrap();
            now = began + Duration::from_secs(15);
            assert!(!breaker.fail(began, now));
            assert_eq!(breaker.probe_at(), Some(now + Duration::from_secs(seconds)));
        }
        // It was in flight when the breaker opened.
        assert!(!breaker.fail(start, now + FIRST_PAUSE));
        assert_eq!(breaker.probe_at(), Some(now + MAX_PAUSE));
    }
}
