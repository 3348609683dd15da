use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::{Destinations, QueueLimits};
use crate::lists::Lists;
use crate::notifications::Notifications;
use crate::streams::Streams;
use crate::vital::Vital;

/// What a store is opened with: its limits, and what it shares with the rest of the daemon.
#[derive(Debug, Clone)]
pub(crate) struct StoreOptions {
    pub(crate) max_queue: QueueLimits,
    /// How many bytes the submissions and outputs of jobs in memory may have together.
    pub(crate) memory_budget: usize,
    /// How many queued jobs of one model run in a row while jobs of other models wait.
    pub(crate) batch: NonZeroUsize,
    /// How long an ended job and its key are stored.
    pub(crate) keep: Duration,
    /// How many attempts of a job may count.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "jobs in memory end with the daemon")
    )]
    pub(crate) attempts: u64,
    pub(crate) streams: Arc<Streams>,
    /// A store that other daemons change too notifies of their changes.
    pub(crate) notifications: Notifications,
    /// A store that other daemons share publishes them.
    pub(crate) lists: Lists,
    /// The limits of webhooks.
    pub(crate) destinations: Arc<Destinations>,
    #[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), expect(dead_code, reason = "memory does not fail"))]
    pub(crate) vital: Vital,
}

#[cfg(test)]
impl StoreOptions {
    /// A queue of so many jobs in batches of one, which are stored for a day and have three attempts. Webhooks have no limits.
    pub(crate) fn of_test(max_queue: usize) -> Self {
        Self {
            max_queue: QueueLimits { all: max_queue, of_owner: max_queue, running_of_owner: usize::MAX },
            memory_budget: usize::MAX,
            batch: NonZeroUsize::MIN,
            keep: Duration::from_secs(24 * 60 * 60),
            attempts: 3,
            streams: Streams::new(1),
            notifications: Notifications::new(1),
            lists: Lists::default(),
            destinations: Arc::new(Destinations::new(usize::MAX)),
            vital: Vital::default(),
        }
    }
}
