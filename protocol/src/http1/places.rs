use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::lingering_close;

/// How long an evicted connection has to end before another is evicted.
const EVICTION: Duration = Duration::from_millis(10);

/// The connections that wait for a request, in the order in which they began to wait.
///
/// At the limit of connections the one that has waited longest makes room, so that peers that send nothing shut nobody out. One whose
/// request is being handled never does.
///
/// Each request changes one number, without a lock. All connections are searched only at the limit.
#[derive(Debug)]
pub struct Places {
    slots: Mutex<Slab<Arc<Slot>>>,
    /// The next number.
    next: AtomicU64,
}

#[derive(Debug)]
struct Slot {
    /// `None` if it does not matter who the peer is.
    peer: Option<IpAddr>,
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
    pub fn place(self: &Arc<Self>, peer: Option<IpAddr>) -> Place {
        let slot = Arc::new(Slot {
            peer,
            waits_as: AtomicU64::new(OCCUPIED),
            is_evicted: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        let key = self.slots().insert(Arc::clone(&slot));
        let place = Place { places: Arc::clone(self), key, slot };
        place.wait();
        place
    }

    /// How many connections a peer has.
    #[must_use]
    pub fn of_peer(&self, peer: IpAddr) -> usize {
        self.slots().iter().filter(|(_, slot)| slot.peer == Some(peer)).count()
    }

    /// Closes the connection that has waited longest for a request, of this peer or of all. Returns whether there was one.
    #[must_use]
    pub fn evict(&self, peer: Option<IpAddr>) -> bool {
        loop {
            let longest = {
                let slots = self.slots();
                let of_peer = slots.iter().filter(|(_, slot)| peer.is_none() || slot.peer == peer);
                let waiting = of_peer.map(|(_, slot)| (slot.waits_as.load(Relaxed), slot));
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

    /// Evicts connections, of this peer or of all, while `is_full`. They are among the tasks in `connections`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave a connection evicted.
    pub async fn make_room(
        &self,
        connections: &mut JoinSet<()>,
        peer: Option<IpAddr>,
        is_full: impl Fn(&JoinSet<()>) -> bool,
    ) {
        while is_full(connections) && self.evict(peer) {
            // It ends as soon as it is scheduled, unless its request was complete at that moment.
            let _ = timeout(EVICTION, connections.join_next()).await;
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slab<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection among the [`Places`].
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    key: usize,
    slot: Arc<Slot>,
}

impl Place {
    /// It waits for a request from now on.
    pub fn wait(&self) {
        self.slot.waits_as.store(self.places.next.fetch_add(1, Relaxed), Relaxed);
    }

    /// It has a request.
    pub fn occupy(&self) {
        self.slot.waits_as.store(OCCUPIED, Relaxed);
    }

    /// Whether it has to make room for another connection.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.slot.is_evicted.load(Acquire)
    }

    /// Completes when it is evicted.
    pub async fn evicted(&self) {
        self.slot.evicted.cancelled().await;
    }

    /// Closes the connection by [`lingering_close`], or at once if it is evicted: it makes room like one that waits for a request.
    pub async fn lingering_close<I: AsyncRead + AsyncWrite + Unpin>(&self, io: I) {
        let (mut closed, mut evicted) = (pin!(lingering_close(io)), pin!(self.evicted()));
        poll_fn(|cx| if evicted.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { closed.as_mut().poll(cx) })
            .await;
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

    #[test]
    fn longest_wait_is_evicted_first() {
        let places = Arc::<Places>::default();
        let [first, second, third] = [(); 3].map(|()| places.place(None));
        first.occupy();
        second.occupy();
        second.wait();
        assert!(places.evict(None));
        assert_eq!([&first, &second, &third].map(Place::is_evicted), [false, false, true]);
        assert!(places.evict(None));
        assert_eq!([&first, &second, &third].map(Place::is_evicted), [false, true, true]);
        assert!(!places.evict(None), "the first one has a request");
        first.wait();
        assert!(places.evict(None) && first.is_evicted());
    }

    #[test]
    fn peer_makes_room_for_itself() {
        let places = Arc::<Places>::default();
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let [first, second, third] = [one, other, other].map(|peer| places.place(Some(peer)));
        assert_eq!([one, other, [10, 0, 0, 3].into()].map(|peer| places.of_peer(peer)), [1, 2, 0]);
        assert!(places.evict(Some(other)) && !places.evict(Some([10, 0, 0, 3].into())));
        assert_eq!([&first, &second, &third].map(Place::is_evicted), [false, true, false]);
        drop(second);
        assert_eq!(places.of_peer(other), 1);
    }

    #[test]
    fn dropped_connection_has_no_place() {
        let places = Arc::<Places>::default();
        drop(places.place(None));
        assert!(!places.evict(None) && places.slots().is_empty());
    }
}
