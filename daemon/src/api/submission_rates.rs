use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::owner::Owner;

/// Limits how many jobs each owner submits a second. There are as many owners as tokens.
#[derive(Debug)]
pub(crate) struct SubmissionRates(Option<KeyedLimiter>);

type KeyedLimiter = RateLimiter<Owner, HashMapStateStore<Owner>, TokioClock, NoOpMiddleware<Nanos>>;

impl SubmissionRates {
    /// Allows this many submissions a second, all of which may come at once. `None` means no limit.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        let limiter = |rate| RateLimiter::new(Quota::per_second(rate), HashMapStateStore::default(), TokioClock::new());
        Self(per_second.map(limiter))
    }

    /// Counts a submission.
    ///
    /// # Errors
    ///
    /// If it is beyond the rate. The error is the number of seconds after which it may be repeated.
    pub(super) fn check(&self, owner: Owner) -> Result<(), u64> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        limiter.check_key(&owner).map_err(|until| {
            let pause: Duration = until.wait_time_from(limiter.clock().now());
            pause.as_secs() + 1
        })
    }
}

/// The clock of the runtime, which tests can pause.
#[derive(Debug, Clone)]
struct TokioClock {
    start: Instant,
}

impl TokioClock {
    fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_owner_has_a_rate_of_its_own() {
        let rates = SubmissionRates::new(NonZeroU32::new(2));
        let [one, other] = [&b"one"[..], b"other"].map(Owner::from_token);
        assert_eq!([one, one, one, other].map(|owner| rates.check(owner)), [Ok(()), Ok(()), Err(1), Ok(())]);
        advance(Duration::from_millis(500)).await;
        assert_eq!([one, one, other, other].map(|owner| rates.check(owner)), [Ok(()), Err(1), Ok(()), Ok(())]);
        let unlimited = SubmissionRates::new(None);
        assert!((0..1000).all(|_| unlimited.check(one).is_ok()));
    }
}
