use std::time::Duration;

use slab::Slab;
use tokio::runtime;
use tokio::time::Instant;

/// How many abandoned jobs are cancelled at a time. So many workers a runtime has at most.
const WORKERS: usize = 16;

/// A worker that was not polled for so long does not count: its runtime may never poll it again.
const STALLED: Duration = Duration::from_secs(5);

/// The workers of one wait service. It has no clock.
///
/// A worker runs on the runtime of the drop that started it, and nobody may drive that runtime. So each runtime on which a job is
/// abandoned gets a worker of its own, and a worker that is polled takes a lease for each job. Leases bound the cancels in flight. One
/// expires if its worker is not polled, as with `source/poll/long_polls`.
#[derive(Debug, Default)]
pub(super) struct Workers(Slab<State>);

#[derive(Debug)]
struct State {
    runtime: runtime::Id,
    /// When it was last polled, or started.
    seen: Instant,
    /// It has a lease.
    busy: bool,
}

impl State {
    fn expires(&self) -> Instant {
        self.seen + STALLED
    }
}

impl Workers {
    /// Starts a worker on `runtime`, if that has none, or if the limits allow another.
    pub(super) fn start(&mut self, runtime: runtime::Id, now: Instant) -> Option<usize> {
        let here = self.0.iter().filter(|(_, worker)| worker.runtime == runtime).count();
        let polled = self.0.iter().filter(|(_, worker)| worker.expires() > now).count();
        let another = here == 0 || (here < WORKERS && polled < WORKERS);
        another.then(|| self.0.insert(State { runtime, seen: now, busy: false }))
    }

    /// A worker was polled.
    pub(super) fn seen(&mut self, worker: usize, now: Instant) {
        if let Some(worker) = self.0.get_mut(worker) {
            worker.seen = now;
        }
    }

    /// The worker gives its lease back, if it has one.
    pub(super) fn release(&mut self, worker: usize) {
        if let Some(worker) = self.0.get_mut(worker) {
            worker.busy = false;
        }
    }

    /// The worker takes a lease.
    ///
    /// # Errors
    ///
    /// When all leases are taken: the time at which the first may expire.
    pub(super) fn lease(&mut self, worker: usize, now: Instant) -> Result<(), Instant> {
        let leases = self.0.iter().filter(|(_, worker)| worker.busy && worker.expires() > now);
        let expires: Vec<_> = leases.map(|(_, worker)| worker.expires()).collect();
        if expires.len() >= WORKERS {
            return Err(expires.into_iter().min().unwrap_or(now));
        }
        if let Some(worker) = self.0.get_mut(worker) {
            worker.busy = true;
        }
        Ok(())
    }

    pub(super) fn end(&mut self, worker: usize) {
        self.0.try_remove(worker);
    }

    /// Whether a job is being cancelled.
    pub(super) fn are_busy(&self) -> bool {
        self.0.iter().any(|(_, worker)| worker.busy)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
