use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response};
use tokio::time::Instant;

/// The id of the queue: in a response that of the daemon, in a request the one that the daemon must have (421 otherwise).
pub(crate) const FOREMAN_QUEUE: HeaderName = HeaderName::from_static("foreman-queue");

/// After so long in which other addresses name another queue and none names the known one, that queue is gone.
const REPLACED: Duration = Duration::from_secs(60);

/// The queue of a list of addresses, as far as a response has named it.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    id: HeaderValue,
    /// The address that has named it. It may name another one later: a queue in memory is a new one after a restart.
    by: usize,
    /// Another queue that another address has named since the known one was last named, and since when.
    other: Option<(HeaderValue, Instant)>,
}

/// Who has responded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A daemon of the queue.
    Daemon,
    /// A daemon of another queue, which is now the known one.
    Replaced,
    /// A daemon of another queue than the one that this address has named.
    OtherQueue(usize),
    /// Something that names no queue, while none is known.
    Unknown,
    /// Something that names no queue: a proxy, another service, or a daemon that does not accept the token.
    Unnamed,
}

impl Queue {
    /// The queue that the daemon at this address must have.
    pub(super) fn required(&self, index: usize) -> Option<HeaderValue> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| known.by != index).map(|known| known.id.clone())
    }

    /// A response came from this address. `has_failed`: whether an address has failed since it last responded.
    pub(super) fn origin<B>(
        &self,
        index: usize,
        response: &Response<B>,
        has_failed: impl FnOnce(usize) -> bool,
    ) -> Origin {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = response.headers().get(FOREMAN_QUEUE) else {
            return if known.is_some() { Origin::Unnamed } else { Origin::Unknown };
        };
        let now = Instant::now();
        let named = Known { id: id.clone(), by: index, other: None };
        match &mut *known {
            Some(known) if known.id == *id => {
                known.other = None;
                Origin::Daemon
            }
            Some(known) if known.by != index => {
                let by = known.by;
                let since = match &known.other {
                    Some((other, since)) if other == id => *since,
                    _ => now,
                };
                known.other = Some((id.clone(), since));
                if now.saturating_duration_since(since) < REPLACED || !has_failed(by) {
                    return Origin::OtherQueue(by);
                }
                *known = named;
                Origin::Replaced
            }
            known => {
                *known = Some(named);
                Origin::Daemon
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(queue: &Queue, index: usize, id: &str) -> Origin {
        queue.origin(index, &Response::builder().header(FOREMAN_QUEUE, id).body(()).unwrap(), |_| true)
    }

    #[tokio::test(start_paused = true)]
    async fn another_address_must_have_the_queue_of_the_first() {
        let queue = Queue::default();
        let unnamed = |index| queue.origin(index, &Response::new(()), |_| true);
        assert_eq!((queue.required(0), unnamed(1)), (None, Origin::Unknown));
        assert_eq!((named(&queue, 1, "a"), unnamed(1), unnamed(0)), (Origin::Daemon, Origin::Unnamed, Origin::Unnamed));
        assert_eq!((queue.required(1), queue.required(0)), (None, Some("a".parse().unwrap())));
        assert_eq!((named(&queue, 0, "a"), named(&queue, 0, "b")), (Origin::Daemon, Origin::OtherQueue(1)));
        assert_eq!(named(&queue, 1, "b"), Origin::Daemon, "it has another queue now");
        assert_eq!((named(&queue, 0, "b"), named(&queue, 0, "a")), (Origin::Daemon, Origin::OtherQueue(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn queue_that_nobody_names_any_more_is_replaced_after_a_minute() {
        let queue = Queue::default();
        named(&queue, 0, "a");
        tokio::time::advance(REPLACED).await;
        for last_named in [Some("a"), Some("c"), None] {
            assert_eq!(named(&queue, 1, "b"), Origin::OtherQueue(0));
            tokio::time::advance(REPLACED - Duration::from_secs(1)).await;
            assert_eq!(named(&queue, 1, "b"), Origin::OtherQueue(0));
            last_named.map(|id| named(&queue, 2, id));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let b = Response::builder().header(FOREMAN_QUEUE, "b").body(()).unwrap();
        assert_eq!(queue.origin(1, &b, |_| false), Origin::OtherQueue(0), "the first address has not failed");
        assert_eq!((named(&queue, 1, "b"), named(&queue, 1, "b")), (Origin::Replaced, Origin::Daemon));
        assert_eq!((named(&queue, 0, "a"), queue.required(1)), (Origin::OtherQueue(1), None));
    }
}
