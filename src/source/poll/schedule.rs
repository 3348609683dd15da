use std::time::Duration;

use fastrand::Rng;

use super::PollPolicy;

/// How often to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Polls are the only source.
    Steady,
    /// Webhooks may come, and have not been seen to work. The first pause gives them time.
    Unproven,
    /// Webhooks work. Polls are for an event that is lost.
    Slow,
}

/// The pauses between the polls of one job by a [`PollPolicy`]. It has no clock.
#[derive(Debug)]
pub(super) struct PollSchedule {
    /// How often the interval has grown. `None` before the first pause.
    grown: Option<u16>,
    rng: Rng,
}

impl PollSchedule {
    pub(super) fn new(rng: Rng) -> Self {
        Self { grown: None, rng }
    }

    /// The pause before the next poll.
    pub(super) fn pause(&mut self, policy: &PollPolicy, pace: Pace, retry_after: Option<Duration>) -> Duration {
        let first = self.grown.is_none();
        let grown = self.grown.get_or_insert(0);
        if let Some(asked) = retry_after {
            // Never sooner than the interval, so that neither `Retry-After: 0` nor a limit of zero causes a flood of polls.
            return asked.min(policy.max_retry_after).max(policy.interval);
        }
        let interval = match pace {
            Pace::Slow => policy.slow_interval,
            Pace::Steady | Pace::Unproven => {
                let factor = policy.growth.powi(i32::from(*grown));
                *grown = grown.saturating_add(1);
                let seconds = policy.interval.as_secs_f64() * factor;
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(policy.max_interval)
            }
        };
        // A random first phase spreads jobs that start together, after a restart for example; the jitter keeps them apart.
        let factor = if first && policy.jitter > 0.0 {
            0.5 + self.rng.f64() / 2.0
        } else {
            1.0 + policy.jitter * (2.0 * self.rng.f64() - 1.0)
        };
        Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(Duration::MAX)
    }

    /// The pause after a response that the daemon held for `held`: none, unless that was less than an interval.
    pub(super) fn after_long_poll(policy: &PollPolicy, held: Duration) -> Duration {
        policy.interval.saturating_sub(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn exact() -> PollPolicy {
        PollPolicy::builder().jitter(0.0).build().unwrap()
    }

    #[test]
    fn steady_pauses_grow_up_to_the_longest() {
        let mut schedule = PollSchedule::new(Rng::with_seed(1));
        let mut next = || schedule.pause(&exact(), Pace::Steady, None);
        let pauses = [next(), next(), next(), next(), next(), next(), next(), next()];
        assert_eq!(
            pauses.map(|pause| pause.as_micros()),
            [250_000, 375_000, 562_500, 843_750, 1_265_625, 1_898_437, 2_000_000, 2_000_000]
        );
    }

    #[test]
    fn a_very_long_wait_overflows_nothing() {
        let mut schedule = PollSchedule { grown: Some(u16::MAX), rng: Rng::with_seed(1) };
        assert_eq!(schedule.pause(&exact(), Pace::Steady, None), MS(2_000));
        assert_eq!(schedule.pause(&exact(), Pace::Steady, None), MS(2_000));
    }

    #[test]
    fn longest_intervals_saturate() {
        let policy =
            PollPolicy::builder().interval(Duration::MAX).max_interval(Duration::MAX).slow_interval(Duration::MAX);
        for policy in [policy.clone().build().unwrap(), policy.jitter(0.0).build().unwrap()] {
            for seed in 0..20 {
                let mut schedule = PollSchedule::new(Rng::with_seed(seed));
                for pace in [Pace::Steady, Pace::Slow, Pace::Slow, Pace::Unproven] {
                    assert!(schedule.pause(&policy, pace, None) > Duration::from_secs(u64::MAX / 4));
                }
            }
        }
    }

    #[test]
    fn retry_after_limit_of_zero_means_the_interval() {
        let mut schedule = PollSchedule::new(Rng::with_seed(1));
        let policy = PollPolicy::builder().max_retry_after(Duration::ZERO).build().unwrap();
        assert_eq!(schedule.pause(&policy, Pace::Steady, Some(MS(30_000))), MS(250));
    }

    #[test]
    fn slow_pauses_do_not_grow_and_do_not_make_the_steady_ones_grow() {
        let mut schedule = PollSchedule::new(Rng::with_seed(1));
        assert_eq!(schedule.pause(&exact(), Pace::Slow, None), MS(30_000));
        assert_eq!(schedule.pause(&exact(), Pace::Slow, None), MS(30_000));
        assert_eq!(schedule.pause(&exact(), Pace::Steady, None), MS(250));
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_limit() {
        let mut schedule = PollSchedule::new(Rng::with_seed(1));
        let policy = PollPolicy::default();
        assert_eq!(schedule.pause(&policy, Pace::Steady, Some(MS(7_000))), MS(7_000));
        assert_eq!(schedule.pause(&policy, Pace::Slow, Some(Duration::MAX)), MS(60_000));
    }

    #[test]
    fn the_first_phase_is_random_and_the_rest_jitters() {
        let policy = PollPolicy::builder().growth(1.0).build().unwrap();
        for seed in 0..200 {
            let mut schedule = PollSchedule::new(Rng::with_seed(seed));
            let first = schedule.pause(&policy, Pace::Steady, None);
            assert!((MS(125)..=MS(250)).contains(&first), "seed {seed}: {first:?}");
            let second = schedule.pause(&policy, Pace::Steady, None);
            assert!((MS(225)..=MS(275)).contains(&second), "seed {seed}: {second:?}");
        }
    }

    #[test]
    fn a_held_answer_is_followed_at_once_but_not_by_a_storm() {
        assert_eq!(PollSchedule::after_long_poll(&exact(), MS(20_000)), Duration::ZERO);
        assert_eq!(PollSchedule::after_long_poll(&exact(), MS(50)), MS(200));
    }
}
