use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio_util::sync::CancellationToken;

/// The connections that wait for a request, in the order in which they began to wait.
///
/// At the limit of connections the one that has waited longest makes room, so that peers that send nothing shut nobody out. One whose
/// request is being handled never does.
///
/// Each request changes one number, without a lock. All connections are searched only at the limit.
#[derive(Debug)]
pub(super) struct Places {
    slots: Mutex<Slab<Arc<Slot>>>,
    /// The next number.
    next: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// Later waits have higher numbers. [`OCCUPIED`] while there is a request.
    waits_as: AtomicU64,
    is_evicted: AtomicBool,
    /// Cancelled after that is set.
    evicted: CancellationToken,
}

const OCCUPIED: u64 = 0;

impl Default for Places {
    fn default() -> Self {
        Self { slots: Mutex::default(), next: AtomicU64::new(OCCUPIED + 1) }
    }
}

impl Places {
    /// For a new connection, which waits for its first request.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let slot = Arc::new(Slot {
            waits_as: AtomicU64::new(OCCUPIED),
            is_evicted: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let key = self.slots().insert(Arc::clone(&slot));
        let place = Place { places: Arc::clone(self), key, slot };
        place.wait();
        place
    }

    /// Closes the connection that has waited longest for a request. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        loop {
            let longest = {
                let slots = self.slots();
                let waiting = slots.iter().map(|(_, slot)| (slot.waits_as.load(Relaxed), slot));
                let longest = waiting.filter(|(number, _)| *number != OCCUPIED).min_by_key(|(number, _)| *number);
                longest.map(|(number, slot)| (number, Arc::clone(slot)))
            };
            let Some((number, slot)) = longest else { return false };
            // Otherwise it has a request now.
            if slot.waits_as.compare_exchange(number, OCCUPIED, Relaxed, Relaxed).is_ok() {
                slot.is_evicted.store(true, Release);
                slot.evicted.cancel();
                return true;
            }
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slab<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection among the [`Places`].
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    key: usize,
    slot: Arc<Slot>,
}

impl Place {
    /// It waits for a request from now on.
    pub(super) fn wait(&self) {
        self.slot.waits_as.store(self.places.next.fetch_add(1, Relaxed), Relaxed);
    }

    /// It has a request.
    pub(super) fn occupy(&self) {
        self.slot.waits_as.store(OCCUPIED, Relaxed);
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.slot.is_evicted.load(Acquire)
    }

    /// Completes when it is evicted.
    pub(super) async fn evicted(&self) {
        self.slot.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.slots().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicted(place: &Place) -> bool {
        place.is_evicted()
    }

    #[test]
    fn longest_wait_is_evicted_first() {
        let places = Arc::<Places>::default();
        let [first, second, third] = [(); 3].map(|()| places.place());
        first.occupy();
        second.occupy();
        second.wait();
        assert!(places.evict());
        assert_eq!([&first, &second, &third].map(evicted), [false, false, true]);
        assert!(places.evict());
        assert_eq!([&first, &second, &third].map(evicted), [false, true, true]);
        assert!(!places.evict(), "the first one has a request");
        first.wait();
        assert!(places.evict() && evicted(&first));
    }

    #[test]
    fn dropped_connection_has_no_place() {
        let places = Arc::<Places>::default();
        drop(places.place());
        assert!(!places.evict() && places.slots().is_empty());
    }
}
