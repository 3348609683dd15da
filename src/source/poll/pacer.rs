use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long after its moment a poll may still go out. A later one reserves another moment as [`Turn::Overdue`], so that polls whose
/// caller did not poll them for a while do not all go out at once, and none of them has to queue again behind all others.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Bounds the rate of the polls of one client, whatever the number of waits.
///
/// Each poll reserves a moment: this is a GCRA (generic cell rate algorithm) with a burst of one second. Waits share time and not
/// possession. A wait that is dropped, or that ends in another way, gives its moment back. A wait that its caller does not poll, or that
/// was leaked, loses its moment and delays others by one interval at most; a permit that such a wait holds would block them.
///
/// There are two lanes. A poll in the urgent lane (a hint, the final poll at a deadline, an overdue poll) does not wait for the routine
/// polls that have reserved before it. It moves the routine lane by half an interval: the rate can be half as high again, and urgent
/// polls never take more than half of the routine lane.
///
/// A daemon may ask for a pause. The clock of the routine lane stands still in it, so that the moments that are reserved come later by its
/// length, in the same order and at the same rate.
#[derive(Debug)]
pub(super) struct Pacer {
    epoch: Instant,
    /// The time between two polls at the full rate, and the time by which a burst may be ahead of it, in nanoseconds.
    interval: u64,
    burst: u64,
    /// The moment of the next poll of each lane, in nanoseconds by the clock of the lane, if the polls before it keep the rate.
    routine: AtomicU64,
    urgent: AtomicU64,
    pauses: Mutex<Pauses>,
}

/// In nanoseconds since the epoch.
#[derive(Debug, Default, Clone, Copy)]
struct Pauses {
    /// The sum of all pauses so far, by which the clock of the routine lane is behind.
    total: u64,
    /// The end of the last one.
    until: u64,
}

/// Why a poll goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Routine,
    /// A routine poll that has lost its moment. It is in the urgent lane, unless the daemon has asked for a pause.
    Overdue,
    /// A hint, or the final poll at a deadline. It is not delayed by a pause.
    Prompt,
}

/// The moment of a poll, by the clock of its lane. It is in each waiting job, so the turn is in the last two bits of the nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(u64);

/// Whether a poll may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    /// Not before then: its moment has not come, or a pause has moved it.
    At(Instant),
    /// The moment is lost, and it reserves another one.
    Again(Turn),
}

impl Turn {
    fn is_urgent(self) -> bool {
        self != Self::Routine
    }
}

impl Moment {
    const TURN: u64 = 0b11;

    fn new(turn: Turn, at: u64) -> Self {
        // Rounded up, since a poll may not be early.
        Self((at.saturating_add(Self::TURN) & !Self::TURN) | turn as u64)
    }

    fn turn(self) -> Turn {
        match self.0 & Self::TURN {
            0 => Turn::Routine,
            1 => Turn::Overdue,
            _ => Turn::Prompt,
        }
    }

    fn at(self) -> u64 {
        self.0 & !Self::TURN
    }

    pub(super) fn is_prompt(self) -> bool {
        self.turn() == Turn::Prompt
    }
}

impl Pacer {
    /// `rate` is in polls a second.
    pub(super) fn new(rate: u32) -> Self {
        let second = 1_000_000_000;
        let interval = second / u64::from(rate.max(1));
        // As far from the epoch as a burst reaches back.
        let (routine, urgent) = (AtomicU64::new(0), AtomicU64::new(0));
        let burst = second.saturating_sub(interval);
        Self { epoch: Instant::now(), interval, burst, routine, urgent, pauses: Mutex::default() }
    }

    /// A time, in nanoseconds from the epoch, which may be before it.
    pub(super) fn nanos(&self, time: Instant) -> i64 {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match time.checked_duration_since(self.epoch) {
            Some(after) => nanos(after),
            None => -nanos(self.epoch.duration_since(time)),
        }
    }

    /// How long ago a time of [`nanos`](Self::nanos) was.
    pub(super) fn age(&self, since: i64, now: Instant) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos(now).saturating_sub(since)).unwrap_or(0))
    }

    /// Reserves the moment of a poll, which is `now` or later.
    pub(super) fn reserve(&self, now: Instant, turn: Turn) -> Moment {
        let real = self.since_epoch(now);
        let turn = if turn == Turn::Overdue && real < self.pauses().until { Turn::Routine } else { turn };
        let clock = if turn.is_urgent() { real } else { self.pauses().clock(real) };
        let at = self.advance(self.lane(turn), clock, self.interval);
        if turn.is_urgent() {
            self.advance(&self.routine, self.pauses().clock(real), self.interval / 2);
        }
        Moment::new(turn, at.max(clock))
    }

    /// How long a routine poll that becomes due at `now` waits for its turn.
    pub(super) fn backlog(&self, now: Instant) -> Duration {
        let real = self.since_epoch(now);
        let pauses = *self.pauses();
        let turn = self.routine.load(Relaxed).saturating_sub(self.burst).max(pauses.clock(real));
        Duration::from_nanos(turn.saturating_add(pauses.total).saturating_sub(real))
    }

    /// Whether a poll with this moment may go out now.
    pub(super) fn check(&self, moment: Moment, now: Instant) -> Permission {
        let (real, pauses) = (self.since_epoch(now), *self.pauses());
        let (turn, at) = (moment.turn(), moment.at());
        let in_pause = real < pauses.until;
        let passed = turn == Turn::Overdue || (turn == Turn::Routine && at < pauses.clock(real));
        if in_pause && passed {
            // Its moment came before the pause, and its caller polls it only now.
            return Permission::Again(Turn::Routine);
        }
        let at = if turn == Turn::Routine { at.saturating_add(pauses.total) } else { at };
        if at > real.saturating_add(Moment::TURN) {
            Permission::At(self.instant(at))
        } else if Duration::from_nanos(real.saturating_sub(at)) > TOLERANCE {
            Permission::Again(if turn == Turn::Prompt { Turn::Prompt } else { Turn::Overdue })
        } else {
            Permission::Granted
        }
    }

    /// No routine poll goes out within `pause`. After that they keep the rate, without a burst.
    pub(super) fn pause(&self, now: Instant, pause: Duration) {
        let real = self.since_epoch(now);
        let until = real.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        let mut pauses = self.pauses();
        if until <= pauses.until {
            return;
        }
        pauses.total = pauses.total.saturating_add(until - pauses.until.max(real));
        pauses.until = until;
        self.routine.fetch_max(pauses.clock(real).saturating_add(self.burst), Relaxed);
    }

    /// Gives back a moment that is not used, so that the next poll of the lane goes out earlier.
    pub(super) fn give_back(&self, moment: Moment) {
        let back = |next: u64| Some(next.saturating_sub(self.interval));
        let _ = self.lane(moment.turn()).fetch_update(Relaxed, Relaxed, back);
    }

    fn lane(&self, turn: Turn) -> &AtomicU64 {
        if turn.is_urgent() { &self.urgent } else { &self.routine }
    }

    /// Moves a lane by `step`. Returns the moment that it has reached, by the clock of the lane; one that has passed is now.
    fn advance(&self, lane: &AtomicU64, clock: u64, step: u64) -> u64 {
        // The lane is ahead by a burst, so that the first burst is a whole one.
        let moment = |next: u64| next.max(clock);
        let step = |next: u64| Some(moment(next).saturating_add(step));
        moment(lane.fetch_update(Relaxed, Relaxed, step).unwrap_or_else(|next| next)).saturating_sub(self.burst)
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// A time beyond the clock's range is far away.
    fn instant(&self, at: u64) -> Instant {
        let far = Duration::from_secs(365 * 24 * 60 * 60);
        self.epoch.checked_add(Duration::from_nanos(at)).unwrap_or(self.epoch + far)
    }
}

impl Pauses {
    /// The clock of the routine lane.
    fn clock(&self, real: u64) -> u64 {
        real.max(self.until).saturating_sub(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::Turn::{Overdue, Prompt, Routine};
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The times from `now` at which `polls` polls may go out.
    fn reserve(pacer: &Pacer, now: Instant, turn: Turn, polls: usize) -> Vec<Duration> {
        let time = |moment| match pacer.check(moment, now) {
            Permission::Granted => Duration::ZERO,
            Permission::At(at) => at - now,
            Permission::Again(turn) => panic!("{turn:?}"),
        };
        (0..polls).map(|_| time(pacer.reserve(now, turn))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn burst_goes_out_at_once_and_rest_at_rate() {
        let pacer = Pacer::new(10);
        let start = Instant::now();
        for now in [start, start + MS(60_000)] {
            let times = reserve(&pacer, now, Routine, 13);
            assert!(times[..10].iter().all(Duration::is_zero), "{times:?}");
            assert_eq!(times[10..], [MS(100), MS(200), MS(300)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rate_holds_over_time() {
        let pacer = Pacer::new(200);
        let start = Instant::now();
        let last = reserve(&pacer, start, Routine, 31_000).pop().unwrap();
        assert!((MS(153_000)..MS(156_000)).contains(&last), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn backlog_is_the_wait_of_the_next_routine_poll() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        assert_eq!(pacer.backlog(now), MS(0));
        let moments: Vec<_> = (0..60).map(|_| pacer.reserve(now, Routine)).collect();
        assert_eq!([pacer.backlog(now), pacer.backlog(now + MS(2_000))], [MS(5_100), MS(3_100)]);
        pacer.pause(now, MS(1_000));
        let next = pacer.backlog(now);
        assert_eq!((next, reserve(&pacer, now, Routine, 1)), (MS(6_100), vec![next]));
        moments.into_iter().for_each(|moment| pacer.give_back(moment));
        assert_eq!(pacer.backlog(now + MS(9_000)), MS(0));
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_poll_goes_before_routine_polls_and_counts() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        reserve(&pacer, now, Routine, 1_000);
        assert!(reserve(&pacer, now, Prompt, 10).iter().all(Duration::is_zero));
        assert_eq!(reserve(&pacer, now, Prompt, 1), [MS(100)]);
        // 1,000 routine polls, of which 10 are the burst, and half of 11 urgent polls.
        assert_eq!(reserve(&pacer, now, Routine, 1), [MS(99_650)]);
    }

    #[tokio::test(start_paused = true)]
    async fn pause_delays_routine_polls_only() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        reserve(&pacer, now, Routine, 1);
        pacer.pause(now, MS(5_000));
        pacer.pause(now, MS(1_000));
        assert_eq!(reserve(&pacer, now, Routine, 3), [MS(5_000), MS(5_100), MS(5_200)]);
        assert_eq!(reserve(&pacer, now, Prompt, 1), [MS(0)]);
        pacer.pause(now, Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn unused_moments_are_given_back() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        for _ in 0..10 {
            let moments: Vec<_> = (0..1_000).map(|_| pacer.reserve(now, Routine)).collect();
            moments.into_iter().for_each(|moment| pacer.give_back(moment));
        }
        assert!(reserve(&pacer, now, Routine, 10).iter().all(Duration::is_zero));
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_polls_leave_half_of_the_rate() {
        let pacer = Pacer::new(100);
        let now = Instant::now();
        reserve(&pacer, now, Prompt, 1_000);
        let last = reserve(&pacer, now, Routine, 100).pop().unwrap();
        assert!(last <= MS(6_000), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn lost_moment_is_one_a_second_ago() {
        let pacer = Pacer::new(10);
        let now = Instant::now();
        for (turn, again) in [(Routine, Overdue), (Overdue, Overdue), (Prompt, Prompt)] {
            let moment = pacer.reserve(now, turn);
            assert_eq!(pacer.check(moment, now + MS(1_000)), Permission::Granted);
            assert_eq!(pacer.check(moment, now + MS(1_001)), Permission::Again(again));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pause_moves_reserved_moments() {
        let pacer = Pacer::new(1);
        let now = Instant::now();
        let moments: Vec<_> = (0..4).map(|_| pacer.reserve(now, Routine)).collect();
        pacer.pause(now + MS(1_500), MS(10_000));
        pacer.pause(now + MS(2_000), MS(5_000));
        let check = |moment, at| pacer.check(moments[moment], now + MS(at));
        // Two moments came before the pause, and two come after it.
        assert_eq!([check(0, 1_500), check(1, 1_500)], [Permission::Again(Routine); 2]);
        assert_eq!(check(2, 1_500), Permission::At(now + MS(12_000)));
        assert_eq!(check(3, 13_000), Permission::Granted);
        // A second pause adds to the first.
        pacer.pause(now + MS(11_000), MS(1_500));
        assert_eq!(check(2, 11_500), Permission::At(now + MS(13_000)));
        assert_eq!(check(2, 14_001), Permission::Again(Overdue));
        // It is not shortened by moments that are given back, and overdue polls wait for its end.
        moments.into_iter().for_each(|moment| pacer.give_back(moment));
        assert_eq!(
            pacer.check(pacer.reserve(now + MS(12_000), Overdue), now + MS(12_000)),
            Permission::At(now + MS(12_500))
        );
    }
}
