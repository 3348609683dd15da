use std::time::Duration;

use tokio::time::Instant;

use crate::error::MAX_RETRY_AFTER;

/// How long a daemon that fails is left alone before the first probe. Each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause between two probes, and the longest trial.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long one job is the trial of a daemon. Each trial that ends by time alone doubles it.
///
/// The wait of the job belongs to its caller, who may stop polling it, and would keep the daemon from all others.
const TRIAL: Duration = Duration::from_secs(5);

/// Whether a daemon is sent jobs.
///
/// ```text
///           failed                 probe answered             job accepted
///  Healthy ────────► Failed ────────────────────► On trial ─────────────────► Healthy
///     │  ▲              ▲ └ probe failed: pause doubled │
///     │  │              └────────── failed ─────────────┘
///     │  └ time is over
///     └ refused with Retry-After ► Paused
/// ```
///
/// A daemon may list its models and run none. So a probe alone does not end a streak of failures: on trial, a daemon gets one job at a time,
/// until it has accepted one. A job whose outcome does not come in time is the trial no longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Healthy,
    /// It has asked to send nothing until then.
    Paused { until: Instant },
    /// It is not asked until then.
    Failed { until: Instant, failures: u32 },
    /// It answers. `trial`: a job is being submitted to it. `expired`: how many trials ended by time alone.
    OnTrial { failures: u32, trial: Option<Trial>, expired: u32 },
}

/// The job that the trial of a daemon depends on, by the time at which it ends: no two trials of a daemon end at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial(Instant);

impl Health {
    pub(super) fn is_available(self, now: Instant) -> bool {
        match self {
            Self::Healthy | Self::OnTrial { trial: None, .. } => true,
            Self::Paused { until } | Self::OnTrial { trial: Some(Trial(until)), .. } => until <= now,
            Self::Failed { .. } => false,
        }
    }

    /// When it is available by time alone.
    pub(super) fn available_at(self) -> Option<Instant> {
        match self {
            Self::Paused { until } | Self::OnTrial { trial: Some(Trial(until)), .. } => Some(until),
            Self::Healthy | Self::Failed { .. } | Self::OnTrial { trial: None, .. } => None,
        }
    }

    /// Until when it is to be sent nothing, also if it has to be probed then.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Paused { until } | Self::Failed { until, .. } => Some(until),
            Self::Healthy | Self::OnTrial { .. } => None,
        }
    }

    /// When it is to be probed.
    pub(super) fn probe_at(self) -> Option<Instant> {
        match self {
            Self::Failed { until, .. } => Some(until),
            _ => None,
        }
    }

    /// A request failed. `jitter`: from 0 to 1.
    ///
    /// Of many that fail together, the first counts.
    pub(super) fn failed(&mut self, now: Instant, jitter: f64) {
        let failures = match *self {
            Self::Failed { .. } => return,
            Self::OnTrial { failures, .. } => failures,
            Self::Healthy | Self::Paused { .. } => 0,
        };
        *self = Self::after(failures.saturating_add(1), now, jitter);
    }

    fn after(failures: u32, now: Instant, jitter: f64) -> Self {
        let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        Self::Failed { until: now + doubled.mul_f64(1.0 - jitter / 4.0), failures }
    }

    /// It refused a job, and asks to send nothing for a while.
    pub(super) fn refused(&mut self, now: Instant, pause: Duration) {
        let until = now + pause.min(MAX_RETRY_AFTER).max(FIRST_PAUSE);
        match *self {
            Self::Healthy | Self::OnTrial { .. } => *self = Self::Paused { until },
            Self::Paused { until: other } => *self = Self::Paused { until: until.max(other) },
            Self::Failed { .. } => {}
        }
    }

    /// The outcome of a probe, or of another request for the list of models.
    pub(super) fn probed(&mut self, answered: bool, now: Instant, jitter: f64) {
        match *self {
            Self::Failed { failures, .. } if answered => *self = Self::OnTrial { failures, trial: None, expired: 0 },
            Self::Failed { failures, .. } => *self = Self::after(failures.saturating_add(1), now, jitter),
            _ if answered => {}
            _ => self.failed(now, jitter),
        }
    }

    /// A job is sent. Returns the trial, if it is the one that the daemon is tried by.
    pub(super) fn send(&mut self, now: Instant) -> Option<Trial> {
        let Self::OnTrial { trial, expired, .. } = self else { return None };
        match trial {
            Some(Trial(until)) if *until > now => return None,
            Some(_) => *expired = expired.saturating_add(1),
            None => {}
        }
        let time = TRIAL.saturating_mul(1 << (*expired).min(16)).min(LONGEST_PAUSE);
        *trial = Some(Trial(now + time));
        *trial
    }

    /// It has accepted a job.
    pub(super) fn accepted(&mut self) {
        if let Self::OnTrial { .. } = self {
            *self = Self::Healthy;
        }
    }

    /// The job of a trial was not sent, or its outcome says nothing of the daemon.
    pub(super) fn not_tried(&mut self, of: Trial) {
        if let Self::OnTrial { trial, .. } = self
            && *trial == Some(of)
        {
            *trial = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(health: Health, now: Instant) -> Duration {
        health.until().unwrap() - now
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now, 0.0);
        let mut pauses = vec![pause(health, now)];
        for _ in 0..20 {
            health.probed(false, now, 0.0);
            pauses.push(pause(health, now));
        }
        assert_eq!(pauses[..4], [250, 500, 1_000, 2_000].map(Duration::from_millis));
        assert_eq!(pauses[20], LONGEST_PAUSE);
        health.probed(false, now, 1.0);
        assert_eq!(pause(health, now), LONGEST_PAUSE * 3 / 4);
    }

    #[test]
    fn failures_at_the_same_time_count_once() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now, 0.0);
        let first = health;
        health.failed(now + Duration::from_millis(1), 0.0);
        health.refused(now, Duration::from_secs(60));
        assert_eq!(health, first);
        assert!(!health.is_available(now + Duration::from_secs(3_600)), "until it was probed");
    }

    #[test]
    fn trial_is_of_one_job_and_its_acceptance_ends_the_streak() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now, 0.0);
        health.probed(true, now, 0.0);
        assert!(health.is_available(now) && health.send(now).is_some());
        assert!(!health.is_available(now) && health.send(now).is_none());
        // It lists its models and takes no job.
        health.failed(now, 0.0);
        assert_eq!(pause(health, now), FIRST_PAUSE * 2);
        health.probed(true, now, 0.0);
        let trial = health.send(now).unwrap();
        health.not_tried(trial);
        assert!(health.is_available(now), "nothing was sent");
        health.send(now);
        health.accepted();
        assert_eq!(health, Health::Healthy);
    }

    #[test]
    fn trial_without_an_outcome_gives_way_to_another_one() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        health.failed(now, 0.0);
        health.probed(true, now, 0.0);
        let first = health.send(now).unwrap();
        let mut times = Vec::new();
        for _ in 0..5 {
            let until = health.available_at().unwrap();
            times.push((until - now).as_secs());
            now = until;
            assert!(health.is_available(now) && health.send(now).is_some());
        }
        assert_eq!(times, [5, 10, 20, 30, 30]);
        health.not_tried(first);
        assert!(!health.is_available(now), "it is the trial no longer");
        health.accepted();
        assert_eq!(health, Health::Healthy);
    }

    #[test]
    fn refusal_ends_by_time_without_a_probe() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.refused(now, Duration::from_secs(7));
        health.refused(now, Duration::from_secs(2));
        assert_eq!((pause(health, now), health.probe_at()), (Duration::from_secs(7), None));
        assert!(!health.is_available(now) && health.is_available(now + Duration::from_secs(7)));
        health.refused(now, Duration::MAX);
        assert_eq!(pause(health, now), MAX_RETRY_AFTER);
    }
}
