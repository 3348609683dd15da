use std::time::Duration;

use super::PollPolicy;

/// The shortest pause after a failed poll, and between two long polls that the daemon did not hold.
const FLOOR: Duration = Duration::from_millis(250);

/// The longest pause in place of a slow one.
const QUICKENED: Duration = Duration::from_secs(1);

/// How often to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Polls are the only source.
    Steady,
    /// Webhooks may come, and have not been seen to work.
    Unproven,
    /// Webhooks work. Polls are for an event that is lost.
    Slow,
    /// The event stream is open. It shows itself when an event may be lost, so a poll is for a fault of the daemon.
    Rare,
}

impl Pace {
    /// Whether events are expected to come before polls.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::Rare)
    }
}

/// The pauses between the polls of one job by a [`PollPolicy`]. It has no clock.
#[derive(Debug)]
pub(super) struct PollSchedule {
    /// How many polls in a row have failed.
    failures: u8,
    /// The next pause is the first one of a job that is not new.
    random_phase: bool,
}

impl PollSchedule {
    pub(super) fn new() -> Self {
        Self { failures: 0, random_phase: true }
    }

    /// The job was just submitted: its submission, and not its first poll, sets when the polls come.
    pub(super) fn of_new_job(&mut self) {
        self.random_phase = false;
    }

    /// The pause after a poll that returned the state of a job of this age.
    pub(super) fn after_state(&mut self, policy: &PollPolicy, pace: Pace, age: Duration) -> Duration {
        self.failures = 0;
        let interval = match pace {
            Pace::Slow | Pace::Rare => policy.slow_interval,
            Pace::Steady | Pace::Unproven => Self::interval(policy, age),
        };
        self.vary(policy, interval)
    }

    /// The pause in place of a slow one that has begun: webhooks do not work, so that the job may have ended long ago.
    pub(super) fn after_slow_pause(&mut self, policy: &PollPolicy, age: Duration) -> Duration {
        let interval = Self::interval(policy, age).min(QUICKENED.max(policy.min_interval));
        self.vary(policy, interval)
    }

    /// The pause after a poll that failed.
    ///
    /// It is never the short interval of a young job, since a daemon that fails must not be asked 40 times a second. That holds for
    /// `Retry-After: 0` too. It is never a slow one, since a daemon that fails may send no webhooks.
    pub(super) fn after_error(
        &mut self,
        policy: &PollPolicy,
        age: Duration,
        retry_after: Option<Duration>,
    ) -> Duration {
        let backoff = Self::floor(policy).saturating_mul(1 << self.failures.min(16)).min(policy.max_interval);
        self.failures = self.failures.saturating_add(1);
        let least = backoff.max(Self::interval(policy, age));
        match retry_after {
            Some(asked) => asked.min(policy.max_retry_after).max(least),
            None => self.vary(policy, least),
        }
    }

    /// The pause after a response that the daemon held for `held`: none, unless that was short.
    pub(super) fn after_long_poll(policy: &PollPolicy, held: Duration) -> Duration {
        Self::floor(policy).saturating_sub(held)
    }

    /// A long poll that was held for that long was held, whatever the daemon says.
    pub(super) fn floor(policy: &PollPolicy) -> Duration {
        FLOOR.max(policy.min_interval).min(policy.max_interval)
    }

    /// The interval follows the age, so that the result of a job is late by a fixed part of the time that the job has taken.
    fn interval(policy: &PollPolicy, age: Duration) -> Duration {
        let part = Duration::try_from_secs_f64(age.as_secs_f64() * policy.age_fraction).unwrap_or(Duration::MAX);
        part.clamp(policy.min_interval, policy.max_interval)
    }

    /// A random first phase spreads waits that attach together, after a restart for example; the jitter keeps them apart.
    fn vary(&mut self, policy: &PollPolicy, interval: Duration) -> Duration {
        let factor = if std::mem::take(&mut self.random_phase) && policy.jitter > 0.0 {
            0.5 + fastrand::f64() / 2.0
        } else {
            1.0 + policy.jitter * (2.0 * fastrand::f64() - 1.0)
        };
        Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn exact() -> PollPolicy {
        PollPolicy::builder().jitter(0.0).build().unwrap()
    }

    fn schedule() -> PollSchedule {
        fastrand::seed(1);
        PollSchedule::new()
    }

    #[test]
    fn steady_pauses_follow_the_age() {
        for (age, pause) in
            [(0, 25), (100, 25), (200, 25), (400, 50), (8_000, 1_000), (80_000, 10_000), (1 << 40, 10_000)]
        {
            for pace in [Pace::Steady, Pace::Unproven] {
                assert_eq!(schedule().after_state(&exact(), pace, MS(age)), MS(pause), "age {age} ms");
            }
        }
        assert_eq!(schedule().after_state(&exact(), Pace::Steady, Duration::MAX), MS(10_000));
    }

    #[test]
    fn slow_pauses_do_not_follow_the_age() {
        for age in [0, 1_000, 1_000_000] {
            assert_eq!(schedule().after_state(&exact(), Pace::Slow, MS(age)), MS(30_000));
        }
    }

    #[test]
    fn job_of_an_hour_is_polled_at_most_500_times() {
        let (mut schedule, mut now, mut polls) = (schedule(), Duration::ZERO, 0);
        while now < Duration::from_secs(3_600) {
            now += schedule.after_state(&exact(), Pace::Steady, now);
            polls += 1;
        }
        assert!((300..500).contains(&polls), "{polls}");
    }

    #[test]
    fn fixed_interval_does_not_follow_the_age() {
        let policy = PollPolicy::every(MS(2_000)).unwrap();
        for age in [0, 1_000, 1_000_000] {
            let pause = schedule().after_state(&policy, Pace::Steady, MS(age));
            assert!(pause <= MS(2_200), "{pause:?}");
        }
    }

    #[test]
    fn pauses_after_errors_double_up_to_the_longest() {
        let mut schedule = schedule();
        let mut next = || schedule.after_error(&exact(), MS(10), None).as_millis();
        assert_eq!(
            [next(), next(), next(), next(), next(), next(), next()],
            [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]
        );
        // A state ends the streak, and an old job is not asked more often because of an error.
        schedule.after_state(&exact(), Pace::Steady, MS(10));
        assert_eq!(schedule.after_error(&exact(), MS(16_000), None), MS(2_000));
        for _ in 0..100_000 {
            assert!(schedule.after_error(&exact(), Duration::MAX, None) <= MS(10_000));
        }
    }

    #[test]
    fn retry_after_is_obeyed_within_limits() {
        let after = |asked| schedule().after_error(&exact(), MS(10), Some(asked));
        assert_eq!([after(MS(0)), after(MS(7_000)), after(Duration::MAX)], [MS(250), MS(7_000), MS(60_000)]);
        let policy = PollPolicy::builder().max_retry_after(Duration::ZERO).build().unwrap();
        assert_eq!(schedule().after_error(&policy, MS(10), Some(MS(30_000))), MS(250));
    }

    #[test]
    fn longest_intervals_saturate() {
        let policy = PollPolicy::builder()
            .min_interval(Duration::MAX)
            .max_interval(Duration::MAX)
            .slow_interval(Duration::MAX)
            .age_fraction(1_000.0);
        for policy in [policy.clone().build().unwrap(), policy.jitter(0.0).build().unwrap()] {
            for seed in 0..20 {
                fastrand::seed(seed);
                let mut schedule = PollSchedule::new();
                for pace in [Pace::Steady, Pace::Slow, Pace::Slow, Pace::Unproven] {
                    let pause = schedule.after_state(&policy, pace, Duration::MAX);
                    assert!(pause > Duration::from_secs(u64::MAX / 4));
                    assert!(schedule.after_error(&policy, Duration::MAX, None) > Duration::from_secs(u64::MAX / 4));
                }
            }
        }
    }

    #[test]
    fn first_phase_is_random_and_the_rest_jitters() {
        for seed in 0..200 {
            fastrand::seed(seed);
            let mut schedule = PollSchedule::new();
            let mut next = || schedule.after_state(&PollPolicy::default(), Pace::Steady, MS(8_000));
            let (first, second) = (next(), next());
            assert!((MS(500)..=MS(1_000)).contains(&first), "seed {seed}: {first:?}");
            assert!((MS(900)..=MS(1_100)).contains(&second), "seed {seed}: {second:?}");
            let mut schedule = PollSchedule::new();
            schedule.of_new_job();
            let first = schedule.after_state(&PollPolicy::default(), Pace::Steady, MS(8_000));
            assert!((MS(900)..=MS(1_100)).contains(&first), "seed {seed}: {first:?}");
        }
    }

    #[test]
    fn held_response_is_followed_at_once_but_not_by_a_flood() {
        assert_eq!(PollSchedule::after_long_poll(&exact(), MS(20_000)), Duration::ZERO);
        assert_eq!(PollSchedule::after_long_poll(&exact(), MS(50)), MS(200));
    }
}
