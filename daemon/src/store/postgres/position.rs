use std::collections::HashSet;

use super::snapshot::Snapshot;

/// The number of a transaction, and that of a job that it has changed.
pub(super) type Key = (i64, i64);

/// Which changes a feed has seen.
///
/// A transaction that began before another may commit after it, however late: a commit may wait for a standby. So a position in the order
/// of the transactions is not enough to find all changes. The feed has seen those of a snapshot, and finds the others by the transactions
/// that were in progress then, and those that had not begun.
#[derive(Debug)]
pub(super) struct Position {
    snapshot: Snapshot,
    /// The later changes that were seen by a read that is not complete.
    seen: HashSet<Key>,
    /// The hash of the daemons that were read last.
    pub(super) boxes: Option<i64>,
}

impl Position {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, seen: HashSet::new(), boxes: None }
    }

    /// All changes that it shows were seen.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(super) fn has_seen(&self, change: Key) -> bool {
        self.seen.contains(&change)
    }

    pub(super) fn see(&mut self, change: Key) {
        self.seen.insert(change);
    }

    /// All changes that this snapshot shows were seen.
    pub(super) fn advance(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
        self.seen.clear();
    }
}
