use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a take waits for the token whose turn it is. The lock of a token to which jobs are submitted is free again after a commit.
const WAIT: Duration = Duration::from_millis(50);

/// How long takes pass over locked tokens after one has waited in vain. So a lock that is held for long costs little of the time.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether takes wait for the locks of tokens.
#[derive(Debug)]
pub(super) struct LockWait(Mutex<State>);

#[derive(Debug)]
struct State {
    wait: Duration,
    /// When takes wait again.
    from: Option<Instant>,
}

impl LockWait {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { wait: WAIT, from: None }))
    }

    /// For how many milliseconds a take waits for a lock that another session has. With 0 it passes over locked tokens.
    pub(super) fn millis(&self) -> i32 {
        let state = self.state();
        match state.from {
            Some(from) if Instant::now() < from => 0,
            _ => i32::try_from(state.wait.as_millis()).unwrap_or(i32::MAX),
        }
    }

    /// A take has waited in vain.
    pub(super) fn timed_out(&self) {
        self.state().from = Some(Instant::now() + PAUSE);
    }

    #[cfg(test)]
    pub(super) fn set_wait(&self, wait: Duration) {
        self.state().wait = wait;
    }

    /// No method panics while it has the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn takes_wait_again_after_a_pause() {
        let wait = LockWait::new();
        assert_eq!(wait.millis(), 50);
        wait.timed_out();
        assert_eq!(wait.millis(), 0);
        tokio::time::advance(PAUSE).await;
        assert_eq!(wait.millis(), 50);
    }
}
