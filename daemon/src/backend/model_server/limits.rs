use std::time::Duration;

use crate::Error;

/// The longest time that is used. It is short enough to be added to any instant.
const MAX: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 10);

/// Time and size limits of the calls to a model server.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackendLimits {
    pub(super) connect: Duration,
    /// For the first part of a response.
    pub(super) first: Duration,
    /// For each further part.
    pub(super) stall: Duration,
    /// `None` is no limit.
    pub(super) attempt: Option<Duration>,
    /// In bytes.
    pub(super) response: usize,
}

impl Default for BackendLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first: Duration::from_secs(600),
            stall: Duration::from_secs(120),
            attempt: Some(Duration::from_secs(3600)),
            response: 64 << 20,
        }
    }
}

impl BackendLimits {
    /// Rejects limits of zero, and reduces those that are too long.
    pub(super) fn checked(self) -> Result<Self, Error> {
        for (option, limit) in [
            ("connect_timeout", Some(self.connect)),
            ("first_stall", Some(self.first)),
            ("stall", Some(self.stall)),
            ("attempt_timeout", self.attempt),
        ] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Error::config(option, "must not be zero"));
            }
        }
        if self.response == 0 {
            return Err(Error::config("response_limit", "must not be zero"));
        }
        Ok(Self { first: self.first.min(MAX), stall: self.stall.min(MAX), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_that_never_ends_is_limited_by_default() {
        assert_eq!(BackendLimits::default().checked().unwrap().attempt, Some(Duration::from_secs(60 * 60)));
    }

    #[test]
    fn zero_limit_is_rejected_by_name() {
        let zero = Duration::ZERO;
        let good = BackendLimits::default();
        for (limits, option) in [
            (BackendLimits { connect: zero, ..good }, "connect_timeout"),
            (BackendLimits { first: zero, ..good }, "first_stall"),
            (BackendLimits { stall: zero, ..good }, "stall"),
            (BackendLimits { attempt: Some(zero), ..good }, "attempt_timeout"),
            (BackendLimits { response: 0, ..good }, "response_limit"),
        ] {
            let error = limits.checked().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid {option}: must not be zero"));
        }
        let endless = BackendLimits { first: Duration::MAX, stall: Duration::MAX, ..good }.checked().unwrap();
        assert_eq!((endless.first, endless.stall), (MAX, MAX));
    }
}
