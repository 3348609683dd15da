use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

/// The first and the longest pause of an address that has failed. In between each is twice the one before. It has no jitter, because it
/// only orders the addresses: a request is never delayed by it.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// An address has failed when callers have waited so long for a first response.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// One caller has waited so long, whatever else has responded meanwhile: the daemon may have parts that hang.
const LONG_SILENCE: Duration = Duration::from_secs(20);

/// The failures of an address since it last responded as a daemon of the queue.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) failures: u32,
    pub(super) last_failure: Option<Failure>,
    failed_at: Option<Instant>,
    pub(super) paused_until: Option<Instant>,
    /// When anything last responded.
    heard_at: Option<Instant>,
    /// How long callers that have given up have waited since then.
    silence: Duration,
    /// Up to when `silence` is counted.
    counted_until: Option<Instant>,
}

/// What has failed at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection was refused or lost.
    Connection(String),
    /// Callers gave up without a response.
    Silent,
    Status(StatusCode),
    /// The daemon refuses this request and may take others: its limits of submissions and of event streams have the same status as an outage.
    Refused,
    /// The response is not that of a daemon of the queue.
    Stranger(String),
}

impl Health {
    pub(super) fn responded(&mut self) {
        let heard_at = self.heard_at;
        *self = Self { heard_at, ..Self::default() };
    }

    /// Something responded, maybe not a daemon of the queue.
    pub(super) fn heard(&mut self) {
        (self.heard_at, self.silence) = (Some(Instant::now()), Duration::ZERO);
    }

    /// An attempt that began at this time has failed. Attempts that were in flight together count as one failure.
    pub(super) fn failed(&mut self, began: Instant, failure: Failure) {
        let (first, longest) = PAUSES;
        if self.failed_at.is_some_and(|failed_at| began < failed_at) {
            return;
        }
        let now = Instant::now();
        let earlier = if failure == Failure::Refused { 0 } else { self.failures };
        let pause = first.saturating_mul(1 << earlier.min(16)).min(longest);
        self.failures = earlier.saturating_add(1);
        (self.last_failure, self.failed_at, self.paused_until) = (Some(failure), Some(now), Some(now + pause));
    }

    /// The caller of an attempt that began at this time has given up. A response was due after `due`. Returns whether the address is
    /// silent. Times that overlap count once.
    pub(super) fn unanswered(&mut self, began: Instant, due: Duration) -> bool {
        if (began + due).elapsed() >= LONG_SILENCE {
            return true;
        }
        if self.heard_at.is_some_and(|heard_at| began <= heard_at) {
            return false;
        }
        let (now, from) = (Instant::now(), self.counted_until.map_or(began + due, |until| until.max(began + due)));
        self.silence += now.saturating_duration_since(from);
        self.counted_until = Some(now.max(from));
        let is_silent = self.silence >= SILENCE;
        if is_silent {
            self.silence = Duration::ZERO;
        }
        is_silent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => f.write_str(error),
            Self::Silent => f.write_str("no response"),
            Self::Status(status) => write!(f, "the response is {status}"),
            Self::Refused => f.write_str("the daemon refuses requests for now"),
            Self::Stranger(reason) => f.write_str(reason),
        }
    }
}
