use std::time::Duration;

use crate::Error;

/// How often one request for an abandoned job is made.
const ATTEMPTS: u32 = 6;

/// The pause after the first failure. Each pause is twice the one before, and up to half longer.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The attempts of one request for an abandoned job.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// An attempt failed. Returns the pause before the next one. `None`: the failure is not transient, or it was the last attempt.
    pub(super) fn failed(&mut self, error: &Error) -> Option<Duration> {
        self.failed += 1;
        if !error.is_retryable() || self.failed == ATTEMPTS {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failed - 1));
        Some(pause.mul_f64(1.0 + fastrand::f64() / 2.0))
    }

    pub(super) fn made(&self) -> u32 {
        self.failed
    }
}
