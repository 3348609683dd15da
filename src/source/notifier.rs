use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::{PushCounters, PushStats, Refusal};
use crate::error::Kind;
use crate::submission::{Cell, Delivered, Token, Trust};
use crate::{Error, JobStatus};

/// How many jobs may wait for events at once unless set otherwise.
const CAPACITY: usize = 1 << 20;

/// The registry of the jobs that wait for webhooks.
///
/// A [`WebhookReceiver`](crate::webhook::WebhookReceiver) feeds it, and a
/// [`WaitLayer`](crate::wait::WaitLayer) registers each submission with it before that is sent. One notifier may serve any
/// number of clients. Cloning is cheap, and clones are the same registry.
///
/// Finding a job does not depend on how many wait, and a job that waits costs some tens of bytes here.
#[derive(Clone)]
pub struct Notifier(Arc<Registry>);

struct Registry {
    capacity: usize,
    slots: Mutex<HashMap<Token, Arc<Cell>>>,
    counters: PushCounters,
}

impl Notifier {
    /// A registry for up to 1,048,576 waiting jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A registry for up to `jobs` waiting jobs; a submission beyond that is refused with
    /// [`Error::is_overloaded`] before anything is sent.
    #[must_use]
    pub fn with_capacity(jobs: usize) -> Self {
        Self(Arc::new(Registry { capacity: jobs, slots: Mutex::default(), counters: PushCounters::default() }))
    }

    /// How many jobs are registered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.slots().len()
    }

    /// What came in so far.
    #[must_use]
    pub fn stats(&self) -> PushStats {
        self.0.counters.snapshot()
    }

    /// Makes a token that leads to `cell`.
    pub(crate) fn register(&self, cell: &Arc<Cell>) -> Result<Token, Error> {
        let token = Token::random().map_err(|error| Error::new(Kind::Service).with_source(error))?;
        let mut slots = self.slots();
        if slots.len() >= self.0.capacity {
            return Err(Error::new(Kind::Capacity(self.0.capacity)));
        }
        slots.insert(token, Arc::clone(cell));
        Ok(token)
    }

    /// Forgets a token.
    pub(crate) fn release(&self, token: Token) {
        // The cell is dropped behind the lock: its drop may wake.
        let cell = self.slots().remove(&token);
        drop(cell);
    }

    /// Whose token it is.
    pub(crate) fn find(&self, token: Token) -> Option<Slot> {
        let cell = Arc::clone(self.slots().get(&token)?);
        Some(Slot { cell, registry: Arc::clone(&self.0) })
    }

    /// Counts a request that was refused.
    pub(crate) fn refused(&self, why: Refusal) {
        self.0.counters.refused(why);
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Token, Arc<Cell>>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

/// A waiting job that a token led to.
#[derive(Debug)]
pub(crate) struct Slot {
    cell: Arc<Cell>,
    registry: Arc<Registry>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Slot {
    /// Hands an event to the job, and counts it. `Delivered::Foreign` is the receiver's to refuse, and to count.
    pub(crate) fn deliver(&self, status: JobStatus, trust: Trust) -> Delivered {
        let delivered = self.cell.deliver(status, trust);
        self.registry.counters.delivered(delivered);
        delivered
    }
}
