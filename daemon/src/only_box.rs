use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use uuid::Uuid;

use crate::lists::Lists;
use crate::store::BoxState;

/// A daemon with a queue that no other daemon shares.
#[derive(Debug)]
pub(crate) struct OnlyBox {
    id: Uuid,
    name: String,
    started_at: Timestamp,
    lists: Lists,
    /// It takes no jobs.
    draining: AtomicBool,
}

impl OnlyBox {
    pub(crate) fn new(name: String, lists: Lists) -> Self {
        Self { id: Uuid::new_v4(), name, started_at: Timestamp::now(), lists, draining: AtomicBool::new(false) }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// `running`: how many jobs it runs.
    pub(crate) fn state(&self, running: u64) -> BoxState {
        BoxState {
            id: self.id,
            name: self.name.clone(),
            started_at: Some(self.started_at),
            lease: None,
            draining: self.is_draining(),
            running,
            backends: Some(self.lists.backends()),
            different_options: Vec::new(),
        }
    }
}
