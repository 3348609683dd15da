use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Pending;
use crate::owner::Owner;

/// How many locked tokens are waited for at once. Each takes a connection.
const MAX_WAITS: usize = 3;

/// How many submissions to a locked token may wait behind those that wait for the lock.
const MAX_BACKLOG: usize = 256;

/// The tokens whose rows another session has locked for long, with the submissions that wait behind those that wait for the lock. They
/// delay no submission to another token.
#[derive(Debug)]
pub(super) struct LockedTokens {
    backlogs: Mutex<HashMap<Owner, Vec<Pending>>>,
    waits: Semaphore,
}

impl LockedTokens {
    pub(super) fn new() -> Self {
        Self { backlogs: Mutex::default(), waits: Semaphore::new(MAX_WAITS) }
    }

    /// Takes a submission whose token is locked. Returns it if the token is not locked, or if too many wait.
    pub(super) fn hold(&self, pending: Pending) -> Result<(), Pending> {
        match self.backlogs().get_mut(&pending.new.owner) {
            Some(backlog) if backlog.len() < MAX_BACKLOG => {
                backlog.push(pending);
                Ok(())
            }
            _ => Err(pending),
        }
    }

    pub(super) fn contains(&self, owner: Owner) -> bool {
        self.backlogs().contains_key(&owner)
    }

    /// Submissions are about to wait for the lock of their token. Returns them, unless others wait for it already.
    pub(super) fn begin(&self, owner: Owner, part: Vec<Pending>) -> Option<Vec<Pending>> {
        match self.backlogs().entry(owner) {
            Entry::Occupied(mut backlog) => {
                backlog.get_mut().extend(part);
                None
            }
            Entry::Vacant(backlog) => {
                backlog.insert(Vec::new());
                Some(part)
            }
        }
    }

    /// Waits until a connection may be used to wait for a lock.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.waits.acquire().await.ok()
    }

    /// The submissions that wait behind those that were added. The token is not locked any more if there are none.
    pub(super) fn next(&self, owner: Owner) -> Vec<Pending> {
        let mut backlogs = self.backlogs();
        let next = backlogs.get_mut(&owner).map(std::mem::take).unwrap_or_default();
        if next.is_empty() {
            backlogs.remove(&owner);
        }
        next
    }

    /// The wait has failed. Returns the submissions behind it.
    pub(super) fn give_up(&self, owner: Owner) -> Vec<Pending> {
        self.backlogs().remove(&owner).unwrap_or_default()
    }

    fn backlogs(&self) -> MutexGuard<'_, HashMap<Owner, Vec<Pending>>> {
        self.backlogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
