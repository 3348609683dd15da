use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};

use crate::owner::Owner;
use crate::store::StoreError;

/// How long a cancel waits for those before it.
const WAIT: Duration = Duration::from_secs(5);

/// The cancels of a token take turns here, as they do in the database. So however many there are of a locked token, one waits for the lock.
#[derive(Debug, Default)]
pub(super) struct Cancels([Mutex<Failed>; 32]);

/// Whose lock was waited for in vain, and until when.
type Failed = Option<(Owner, Instant)>;

/// The turn of a cancel, until it is dropped.
#[derive(Debug)]
pub(super) struct CancelTurn<'a> {
    owner: Owner,
    failed: MutexGuard<'a, Failed>,
}

impl Cancels {
    /// # Errors
    ///
    /// [`StoreError::token_locked`] if one before this has waited for the lock in vain meanwhile.
    pub(super) async fn turn(&self, owner: Owner) -> Result<CancelTurn<'_>, StoreError> {
        let asked = Instant::now();
        // Tokens that share a mutex wait for each other.
        let index = usize::from(owner.as_bytes()[0]) % self.0.len();
        let failed = timeout(WAIT, self.0[index].lock()).await.map_err(|_| StoreError::token_locked())?;
        if failed.is_some_and(|(of, at)| of == owner && at >= asked) {
            return Err(StoreError::token_locked());
        }
        Ok(CancelTurn { owner, failed })
    }
}

impl CancelTurn<'_> {
    /// The token is locked, also for those that wait for this cancel.
    pub(super) fn fail(&mut self) {
        *self.failed = Some((self.owner, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cancels_that_wait_for_one_of_a_locked_token_fail_with_it() {
        let cancels = Cancels::default();
        // They share a mutex.
        let [owner, other] = [Owner::from_bytes([1; 16]), Owner::from_bytes([33; 16])];
        let mut first = cancels.turn(owner).await.unwrap();
        let (mut second, mut third) = (task::spawn(cancels.turn(owner)), task::spawn(cancels.turn(other)));
        assert_pending!(second.poll());
        assert_pending!(third.poll());
        tokio::time::advance(Duration::from_millis(500)).await;
        first.fail();
        drop(first);
        assert!(assert_ready!(second.poll()).is_err());
        drop(assert_ready!(third.poll()).unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cancels.turn(owner).await.is_ok());
    }
}
