use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Jobs;
use crate::store::{BoxState, Fleet, StoreError};

/// This daemon, and those that share its queue.
impl Jobs {
    /// See [`Store::queue_id`].
    pub(crate) fn queue_id(&self) -> Uuid {
        self.store.queue_id()
    }

    /// See [`Store::lease_left`].
    pub(crate) fn lease_left(&self) -> Option<Duration> {
        self.store.lease_left()
    }

    /// Whether this daemon has lost its lease, so that it runs no jobs and hears nothing of the other daemons.
    pub(crate) fn has_lost_lease(&self) -> bool {
        self.lease_left().is_some_and(|left| left.is_zero())
    }

    /// Whether this daemon takes no jobs.
    pub(crate) fn is_draining(&self) -> bool {
        self.only_box.is_draining() || self.store.is_draining()
    }

    /// How many daemons have the queue, and how many of them take no jobs, as they were last read.
    pub(crate) fn count_boxes(&self) -> (usize, usize) {
        match self.fleet() {
            Some(fleet) => (fleet.boxes.len(), fleet.boxes.iter().filter(|one| one.draining).count()),
            None => (1, self.is_draining().into()),
        }
    }

    /// See [`Store::fleet`].
    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.store.fleet()
    }

    /// The same, unless it may be out of date because the database is away.
    pub(crate) fn current_fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet().filter(|_| !self.has_lost_lease())
    }

    /// The id of this daemon, and the daemons that share its queue.
    pub(crate) async fn boxes(&self) -> Result<(Uuid, Vec<BoxState>), StoreError> {
        Ok(match self.reading.observe(self.store.read_fleet(), Option::is_some).await? {
            Some(fleet) => (fleet.this, Arc::unwrap_or_clone(fleet).boxes),
            None => (self.only_box.id(), vec![self.only_box.state(self.running.get())]),
        })
    }

    /// Sets whether a daemon takes no jobs. Returns `false` if there is no such daemon.
    pub(crate) async fn set_draining(&self, id: Uuid, draining: bool) -> Result<bool, StoreError> {
        if self.store.fleet().is_some() {
            return self.changing.observe(self.store.set_draining(id, draining), |is_known| *is_known).await;
        }
        if id != self.only_box.id() {
            return Ok(false);
        }
        self.only_box.set_draining(draining);
        if !draining {
            self.notifications.wake_all_workers();
        }
        Ok(true)
    }
}
