use std::time::Duration;

use crate::Error;

/// How often to poll.
///
/// # Why by age?
///
/// A short interval asks too often for a job of an hour, and a long one finds a job of 50 ms late. So the interval follows the age of the
/// job, which is counted from the first call: the result is late by at most a fixed part of the time that the job has taken, an eighth
/// unless set ([`age_fraction`](PollPolicyBuilder::age_fraction)), from [`min_interval`](PollPolicyBuilder::min_interval) up to
/// [`max_interval`](PollPolicyBuilder::max_interval). It is varied by [`jitter`](PollPolicyBuilder::jitter).
///
/// The first poll goes out at once, except for a job that was just submitted while webhooks work. If the daemon supports long polls
/// (`Prefer: wait`), each poll then follows the one before, which the daemon holds until the state changes. While webhooks work, polls are
/// [`slow_interval`](PollPolicyBuilder::slow_interval) apart.
///
/// After a poll that failed, the pause is at least 250 ms, doubled with each further failure up to the maximum interval. `Retry-After`
/// overrides it, up to [`max_retry_after`](PollPolicyBuilder::max_retry_after).
///
/// ```
/// # fn main() -> Result<(), foreman_client::Error> {
/// use std::time::Duration;
/// use foreman_client::source::PollPolicy;
///
/// let steady = PollPolicy::every(Duration::from_secs(2))?;
/// let patient = PollPolicy::builder()
///     .max_interval(Duration::from_secs(60))
///     .long_poll(Duration::ZERO)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PollPolicy {
    pub(super) min_interval: Duration,
    pub(super) age_fraction: f64,
    pub(super) max_interval: Duration,
    pub(super) jitter: f64,
    pub(super) max_retry_after: Duration,
    pub(super) long_poll: Duration,
    pub(super) slow_interval: Duration,
    pub(super) max_rate: u32,
    pub(super) max_long_polls: usize,
}

impl PollPolicy {
    /// Starts with the defaults.
    pub fn builder() -> PollPolicyBuilder {
        PollPolicyBuilder { policy: Self::default() }
    }

    /// Polls every `interval`, whatever the age of the job, and without long polls.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for zero.
    pub fn every(interval: Duration) -> Result<Self, Error> {
        Self::builder().min_interval(interval).max_interval(interval).long_poll(Duration::ZERO).build()
    }
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(25),
            age_fraction: 0.125,
            max_interval: Duration::from_secs(10),
            jitter: 0.1,
            max_retry_after: Duration::from_secs(60),
            long_poll: Duration::from_secs(20),
            slow_interval: Duration::from_secs(30),
            max_rate: 200,
            max_long_polls: 32,
        }
    }
}

/// Builds a [`PollPolicy`].
#[derive(Debug, Clone)]
#[must_use]
pub struct PollPolicyBuilder {
    policy: PollPolicy,
}

impl PollPolicyBuilder {
    /// The shortest interval; 25 ms unless set.
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.policy.min_interval = interval;
        self
    }

    /// The interval as a part of the age of the job, from 0 to 1,000; 0.125 unless set.
    pub fn age_fraction(mut self, fraction: f64) -> Self {
        self.policy.age_fraction = fraction;
        self
    }

    /// The longest interval; 10 s unless set.
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.policy.max_interval = interval;
        self
    }

    /// The fraction by which an interval may be shorter or longer, from 0 to 1; 0.1 (±10 %) unless set.
    pub fn jitter(mut self, part: f64) -> Self {
        self.policy.jitter = part;
        self
    }

    /// The upper limit of `Retry-After`; 60 s unless set.
    pub fn max_retry_after(mut self, limit: Duration) -> Self {
        self.policy.max_retry_after = limit;
        self
    }

    /// How long the daemon is asked to hold a long poll (`Prefer: wait`, in whole seconds); 20 s unless set. Zero turns long polls
    /// off.
    pub fn long_poll(mut self, wait: Duration) -> Self {
        self.policy.long_poll = wait;
        self
    }

    /// The interval while webhooks work; 30 s unless set. While the event stream is open it is ten times as long.
    pub fn slow_interval(mut self, interval: Duration) -> Self {
        self.policy.slow_interval = interval;
        self
    }

    /// The largest rate of the polls of one client, in polls a second, whatever the number of its waits; 200 unless set. A client that
    /// was idle may send the polls of one second at once.
    ///
    /// Polls above the rate are delayed, evenly and in turn. Hints and the final polls at deadlines go before routine polls.
    pub fn max_rate(mut self, polls_per_second: u32) -> Self {
        self.policy.max_rate = polls_per_second;
        self
    }

    /// The largest number of long polls of one client that are in flight; 32 unless set. Polls above it are ordinary polls. Zero turns
    /// long polls off.
    pub fn max_long_polls(mut self, polls: usize) -> Self {
        self.policy.max_long_polls = polls;
        self
    }

    /// Builds the policy.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for an interval or rate of zero, an age fraction outside 0 to 1,000, a jitter outside 0
    /// to 1, or a maximum interval shorter than the minimum.
    pub fn build(self) -> Result<PollPolicy, Error> {
        let PollPolicy { min_interval, age_fraction, max_interval, jitter, slow_interval, max_rate, .. } = self.policy;
        for (name, value) in [("min_interval", min_interval), ("slow_interval", slow_interval)] {
            if value.is_zero() {
                return Err(Error::invalid(name, "must not be zero"));
            }
        }
        if max_interval < min_interval {
            return Err(Error::invalid("max_interval", "must not be shorter than min_interval"));
        }
        if !(0.0..=1000.0).contains(&age_fraction) {
            return Err(Error::invalid("age_fraction", "must be from 0 to 1000"));
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(Error::invalid("jitter", "must be from 0 to 1"));
        }
        if max_rate == 0 {
            return Err(Error::invalid("max_rate", "must not be zero"));
        }
        Ok(self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_option_is_named() {
        let policy = PollPolicy::builder;
        for (name, builder) in [
            ("min_interval", policy().min_interval(Duration::ZERO)),
            ("slow_interval", policy().slow_interval(Duration::ZERO)),
            ("max_interval", policy().min_interval(Duration::from_secs(11))),
            ("age_fraction", policy().age_fraction(-0.1)),
            ("age_fraction", policy().age_fraction(f64::NAN)),
            ("jitter", policy().jitter(1.1)),
            ("jitter", policy().jitter(-0.1)),
            ("max_rate", policy().max_rate(0)),
        ] {
            let error = builder.build().unwrap_err();
            assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {name}: ")), "{error}");
        }
        assert!(PollPolicy::every(Duration::ZERO).unwrap_err().is_invalid());
        assert!(policy().build().is_ok());
    }
}
