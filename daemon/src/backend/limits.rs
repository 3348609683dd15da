use std::time::Duration;

use crate::Error;

/// Longer than any wait, and short enough to be added to any instant.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 10);

/// What a backend that asks a model server bears with.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackendLimits {
    pub(super) connect: Duration,
    pub(super) first: Duration,
    pub(super) stall: Duration,
    pub(super) attempt: Option<Duration>,
    pub(super) answer: usize,
}

impl Default for BackendLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first: Duration::from_secs(300),
            stall: Duration::from_secs(60),
            attempt: None,
            answer: 64 << 20,
        }
    }
}

impl BackendLimits {
    /// The limits, if none of them is nothing.
    pub(super) fn checked(self) -> Result<Self, Error> {
        for (field, limit) in [
            ("connect_timeout", Some(self.connect)),
            ("first_stall", Some(self.first)),
            ("stall", Some(self.stall)),
            ("attempt_timeout", self.attempt),
        ] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Error::config(field, "must not be zero"));
            }
        }
        if self.answer == 0 {
            return Err(Error::config("answer_limit", "must not be zero"));
        }
        Ok(Self { first: self.first.min(FOREVER), stall: self.stall.min(FOREVER), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let zero = Duration::ZERO;
        let good = BackendLimits::default();
        for (limits, field) in [
            (BackendLimits { connect: zero, ..good }, "connect_timeout"),
            (BackendLimits { first: zero, ..good }, "first_stall"),
            (BackendLimits { stall: zero, ..good }, "stall"),
            (BackendLimits { attempt: Some(zero), ..good }, "attempt_timeout"),
            (BackendLimits { answer: 0, ..good }, "answer_limit"),
        ] {
            let error = limits.checked().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid {field}: must not be zero"));
        }
        let endless = BackendLimits { first: Duration::MAX, stall: Duration::MAX, ..good }.checked().unwrap();
        assert_eq!((endless.first, endless.stall), (FOREVER, FOREVER));
    }
}
