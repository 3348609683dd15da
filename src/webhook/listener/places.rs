use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The connections that wait for a request, in the order in which they began to wait.
///
/// At the limit of connections the one that has waited longest makes room, so that peers that send nothing shut nobody out. One whose
/// request is being handled never does.
#[derive(Debug, Default)]
pub(super) struct Places {
    waiting: Mutex<BTreeMap<u64, CancellationToken>>,
    last: AtomicU64,
}

impl Places {
    /// For a new connection, which waits for its first request.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let place = Place { places: Arc::clone(self), waits_as: Mutex::new(None), evicted: CancellationToken::new() };
        place.wait();
        place
    }

    /// Closes the connection that has waited longest for a request. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        let longest = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
        longest.is_some_and(|(_, evicted)| {
            evicted.cancel();
            true
        })
    }
}

/// One connection among the [`Places`].
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    waits_as: Mutex<Option<u64>>,
    evicted: CancellationToken,
}

impl Place {
    /// It waits for a request from now on.
    pub(super) fn wait(&self) {
        self.occupy();
        let number = self.places.last.fetch_add(1, Relaxed);
        *self.waits_as.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
        self.places.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, self.evicted.clone());
    }

    /// It has a request.
    pub(super) fn occupy(&self) {
        if let Some(number) = self.waits_as.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.places.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        }
    }

    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupy();
    }
}
