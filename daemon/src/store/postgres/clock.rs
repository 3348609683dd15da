use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time of the database, in seconds.
pub(super) const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::double precision";

/// The clock of the database beside the monotonic one of this process. It is set by hand, or by the failover to another server.
#[derive(Debug, Default)]
pub(super) struct DatabaseClock(Mutex<Option<(f64, Instant)>>);

impl DatabaseClock {
    /// The clock shows this time now. Returns by how much it was set since it was read last.
    pub(super) fn set_by(&self, seconds: f64) -> Duration {
        let now = Instant::now();
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace((seconds, now));
        let Some((then, at)) = before else { return Duration::ZERO };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        Duration::try_from_secs_f64((seconds - then - passed).abs()).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn jump_is_the_difference_of_the_clocks() {
        let (clock, second) = (DatabaseClock::default(), Duration::from_secs(1));
        assert_eq!(clock.set_by(1e9), Duration::ZERO);
        tokio::time::advance(10 * second).await;
        assert_eq!(clock.set_by(1e9 + 10.0), Duration::ZERO);
        tokio::time::advance(10 * second).await;
        assert_eq!(clock.set_by(1e9 + 80.0), 60 * second);
        assert_eq!(clock.set_by(1e9 - 20.0), 100 * second);
    }
}
