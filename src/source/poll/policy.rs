use std::time::Duration;

use crate::Error;

/// How often to poll.
///
/// The first poll goes out at once. If the daemon supports long polls (`Prefer: wait`), each poll then follows the one before, which
/// the daemon holds until the state changes. Otherwise polls are [`interval`](PollPolicyBuilder::interval) apart; the interval grows by
/// [`growth`](PollPolicyBuilder::growth) up to [`max_interval`](PollPolicyBuilder::max_interval) and is varied by
/// [`jitter`](PollPolicyBuilder::jitter). `Retry-After` overrides the interval, up to
/// [`max_retry_after`](PollPolicyBuilder::max_retry_after).
///
/// ```
/// # fn main() -> Result<(), foreman_client::Error> {
/// use std::time::Duration;
/// use foreman_client::source::PollPolicy;
///
/// let steady = PollPolicy::every(Duration::from_secs(2))?;
/// let patient = PollPolicy::builder()
///     .max_interval(Duration::from_secs(10))
///     .long_poll(Duration::ZERO)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PollPolicy {
    pub(super) interval: Duration,
    pub(super) growth: f64,
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

    /// Polls every `interval`, without growth and without long polls.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for zero.
    pub fn every(interval: Duration) -> Result<Self, Error> {
        Self::builder().interval(interval).max_interval(interval).long_poll(Duration::ZERO).build()
    }
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(250),
            growth: 1.5,
            max_interval: Duration::from_secs(2),
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
    /// The pause after the first poll; 250 ms unless set.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.policy.interval = interval;
        self
    }

    /// The factor by which the interval grows with each poll, from 1 to 1,000; 1.5 unless set.
    pub fn growth(mut self, factor: f64) -> Self {
        self.policy.growth = factor;
        self
    }

    /// The longest interval; 2 s unless set.
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

    /// The interval while webhooks work; 30 s unless set.
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
    /// [`Error::is_invalid`], naming the option, for an interval or rate of zero, a growth under 1, a jitter outside 0 to 1, or a
    /// maximum interval shorter than the first.
    pub fn build(self) -> Result<PollPolicy, Error> {
        let PollPolicy { interval, growth, max_interval, jitter, slow_interval, max_rate, .. } = self.policy;
        for (name, value) in [("interval", interval), ("slow_interval", slow_interval)] {
            if value.is_zero() {
                return Err(Error::invalid(name, "must not be zero"));
            }
        }
        if max_interval < interval {
            return Err(Error::invalid("max_interval", "must not be shorter than interval"));
        }
        if !(1.0..=1000.0).contains(&growth) {
            return Err(Error::invalid("growth", "must be from 1 to 1000"));
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
            ("interval", policy().interval(Duration::ZERO)),
            ("slow_interval", policy().slow_interval(Duration::ZERO)),
            ("max_interval", policy().interval(Duration::from_secs(3))),
            ("growth", policy().growth(0.9)),
            ("growth", policy().growth(f64::NAN)),
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
