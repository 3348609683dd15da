use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// How long after its moment a poll may still go out. A later one reserves another moment, in the urgent lane, so that polls whose
/// caller did not poll them for a while do not all go out at once, and none of them has to queue again behind all others.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Bounds the rate of the polls of one client, whatever the number of waits.
///
/// Each poll reserves a moment: this is a GCRA (generic cell rate algorithm) with a burst of one second. Waits share time and not
/// possession. A wait that is dropped, or that ends in another way, gives its moment back. A wait that its caller does not poll, or that
/// was leaked, loses its moment and delays others by one interval at most; a permit that such a wait holds would block them.
///
/// There are two lanes. An urgent poll (a hint, the final poll at a deadline) does not wait for the routine polls that have reserved
/// before it. It moves the routine lane by half an interval: the rate can be half as high again, and urgent polls never take more than
/// half of the routine lane.
#[derive(Debug)]
pub(super) struct Pacer {
    epoch: Instant,
    /// The time between two polls at the full rate, and the time by which a burst may be ahead of it, in nanoseconds.
    interval: u64,
    burst: u64,
    /// The moment of the next poll of each lane, in nanoseconds since the epoch, if the polls before it keep the rate.
    routine: AtomicU64,
    urgent: AtomicU64,
}

impl Pacer {
    /// `rate` is in polls a second.
    pub(super) fn new(rate: u32) -> Self {
        let second = 1_000_000_000;
        let interval = second / u64::from(rate.max(1));
        // As far from the epoch as a burst reaches back.
        let (routine, urgent) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { epoch: Instant::now(), interval, burst: second.saturating_sub(interval), routine, urgent }
    }

    /// Reserves the moment of a poll, which is `now` or later.
    pub(super) fn reserve(&self, now: Instant, urgent: bool) -> Instant {
        // The clock starts one burst after zero, so that the first burst is a whole one.
        let elapsed = u64::try_from(now.duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let clock = elapsed.saturating_add(self.burst);
        let lane = if urgent { &self.urgent } else { &self.routine };
        let moment = |next: u64| next.max(clock.saturating_sub(self.burst));
        let reserve = |next: u64| Some(moment(next).saturating_add(self.interval));
        let next = lane.fetch_update(Relaxed, Relaxed, reserve).unwrap_or_else(|next| next);
        if urgent {
            let half = |next: u64| Some(moment(next).saturating_add(self.interval / 2));
            let _ = self.routine.fetch_update(Relaxed, Relaxed, half);
        }
        let wait = Duration::from_nanos(moment(next).saturating_sub(clock));
        now.checked_add(wait).unwrap_or(now)
    }

    /// No routine poll that reserves its moment from now on goes out within `pause`. After that they keep the rate.
    pub(super) fn pause(&self, now: Instant, pause: Duration) {
        let until = now.duration_since(self.epoch).saturating_add(pause).as_nanos();
        let until = u64::try_from(until).unwrap_or(u64::MAX).saturating_add(self.burst);
        self.routine.fetch_max(until, Relaxed);
    }

    /// Gives back a moment that is not used, so that the next poll of the lane goes out earlier.
    pub(super) fn give_back(&self, urgent: bool) {
        let lane = if urgent { &self.urgent } else { &self.routine };
        let _ = lane.fetch_update(Relaxed, Relaxed, |next| Some(next.saturating_sub(self.interval)));
    }

    /// Whether a poll that reserved this moment is so late that it has lost it.
    pub(super) fn is_lost(moment: Instant, now: Instant) -> bool {
        now.saturating_duration_since(moment) > TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The times from `now` at which `polls` polls may go out.
    fn reserve(pacer: &Pacer, now: Instant, urgent: bool, polls: usize) -> Vec<Duration> {
        (0..polls).map(|_| pacer.reserve(now, urgent) - now).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn burst_goes_out_at_once_and_rest_at_rate() {
        let pacer = Pacer::new(10);
        let start = Instant::now();
        for now in [start, start + MS(60_000)] {
            let times = reserve(&pacer, now, false, 13);
            assert!(times[..10].iter().all(Duration::is_zero), "{times:?}");
            assert_eq!(times[10..], [MS(100), MS(200), MS(300)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rate_holds_over_time() {
        let pacer = Pacer::new(200);
        let start = Instant::now();
        let last = reserve(&pacer, start, false, 31_000).pop().unwrap();
        assert!((MS(153_000)..MS(156_000)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_poll_goes_before_routine_polls_and_counts() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        reserve(&pacer, now, false, 1_000);
        assert!(reserve(&pacer, now, true, 10).iter().all(Duration::is_zero));
        assert_eq!(reserve(&pacer, now, true, 1), [MS(100)]);
        // 1,000 routine polls, of which 10 are the burst, and half of 11 urgent polls.
        assert_eq!(reserve(&pacer, now, false, 1), [MS(99_650)]);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_delays_routine_polls_only() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        reserve(&pacer, now, false, 1);
        pacer.pause(now, MS(5_000));
        pacer.pause(now, MS(1_000));
        assert_eq!(reserve(&pacer, now, false, 3), [MS(5_000), MS(5_100), MS(5_200)]);
        assert_eq!(reserve(&pacer, now, true, 1), [MS(0)]);
        pacer.pause(now, Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_moments_are_given_back() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        for _ in 0..10 {
            reserve(&pacer, now, false, 1_000);
            (0..1_000).for_each(|_| pacer.give_back(false));
        }
        assert!(reserve(&pacer, now, false, 10).iter().all(Duration::is_zero));
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_polls_leave_half_of_the_rate() {
        let pacer = Pacer::new(100);
        let now = Instant::now();
        reserve(&pacer, now, true, 1_000);
        let last = reserve(&pacer, now, false, 100).pop().unwrap();
        assert!(last <= MS(6_000), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn lost_moment_is_one_a_second_ago() {
        let moment = Instant::now();
        assert!(!Pacer::is_lost(moment, moment + MS(1_000)) && !Pacer::is_lost(moment + MS(5), moment));
        assert!(Pacer::is_lost(moment, moment + MS(1_001)));
    }
}
