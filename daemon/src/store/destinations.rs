use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Destination;
use super::breaker::Breaker;

/// The largest number of breakers. At the limit, the destination that has not failed for the longest time is forgotten.
const MAX_BREAKERS: usize = 1024;

/// The limits of the attempts to each destination of webhooks: how many are in flight, and a circuit breaker.
///
/// After several consecutive failures the breaker of a destination opens. Its events wait, and one at a time is sent as a probe,
/// with backoff. A success closes the breaker. An event that waits makes no attempt, so that it loses none of its retries.
///
/// The state is not part of a transaction: what an attempt has shown of a receiver stays true if its outcome cannot be stored.
#[derive(Debug)]
pub(crate) struct Destinations {
    /// How many attempts to one destination are in flight.
    at_once: usize,
    /// The breakers of the destinations whose last attempt failed.
    breakers: Mutex<HashMap<Destination, Breaker>>,
}

/// A breaker that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerChange {
    Opened,
    Closed,
}

/// What a breaker lets through.
#[derive(Debug)]
pub(super) struct Passage {
    /// How many attempts may be in flight.
    pub(super) at_once: usize,
    /// When the next one may begin.
    pub(super) from: Option<Instant>,
}

impl Destinations {
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, breakers: Mutex::default() }
    }

    /// Records the result of an attempt that began at `began`: whether the receiver works. Call it before the outcome of the
    /// attempt is settled, which schedules the next one.
    pub(crate) fn report(&self, destination: &Destination, works: bool, began: Instant) -> Option<BreakerChange> {
        let mut breakers = self.lock();
        if works {
            return breakers.remove(destination).filter(Breaker::is_open).map(|_| BreakerChange::Closed);
        }
        let now = Instant::now();
        if breakers.len() >= MAX_BREAKERS && !breakers.contains_key(destination) {
            let oldest = breakers.iter().min_by_key(|(_, breaker)| breaker.failed_at());
            let oldest = oldest.map(|(destination, _)| destination.clone());
            oldest.and_then(|oldest| breakers.remove(&oldest));
        }
        let breaker = breakers.entry(destination.clone()).or_insert_with(|| Breaker::new(now));
        breaker.fail(began, now).then_some(BreakerChange::Opened)
    }

    pub(super) fn passage(&self, destination: &Destination) -> Passage {
        match self.lock().get(destination).and_then(Breaker::probe_at) {
            None => Passage { at_once: self.at_once, from: None },
            Some(at) => Passage { at_once: 1, from: Some(at) },
        }
    }

    /// The destinations that have no room, where `sending` is how many attempts to each are in flight, and when the first of their breakers
    /// lets a probe through.
    #[cfg(feature = "postgres")]
    pub(super) fn without_room(
        &self,
        sending: &HashMap<Destination, usize>,
        now: Instant,
    ) -> (Vec<Destination>, Option<Instant>) {
        let breakers = self.lock();
        let full = sending.iter().filter(|(_, count)| **count >= self.at_once).map(|(destination, _)| destination);
        let mut without_room: Vec<_> = full.cloned().collect();
        let mut next = None;
        for (destination, probe_at) in breakers.iter().filter_map(|(to, breaker)| Some((to, breaker.probe_at()?))) {
            let is_probed = sending.contains_key(destination);
            if is_probed || probe_at > now {
                without_room.push(destination.clone());
            }
            if !is_probed && probe_at > now {
                next = Some(next.map_or(probe_at, |next: Instant| next.min(probe_at)));
            }
        }
        (without_room, next)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn destination(host: &str) -> Destination {
        Destination::of(&format!("http://{host}/").parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_opens_and_closes_once() {
        let (destinations, h) = (Destinations::new(4), destination("h"));
        let now = Instant::now();
        let report = |works| destinations.report(&h, works, now);
        for _ in 0..2 {
            // A success between failures begins the count anew.
            for works in [false, false, false, false, true, false, false, false, false] {
                assert_eq!(report(works), None);
            }
            assert_eq!(report(false), Some(BreakerChange::Opened));
            for _ in 0..9 {
                assert_eq!(report(false), None);
            }
            assert_eq!(report(true), Some(BreakerChange::Closed));
            assert_eq!(report(true), None);
        }
        assert!(destinations.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn open_breaker_lets_one_probe_through() {
        let (destinations, h) = (Destinations::new(4), destination("h"));
        let now = Instant::now();
        for _ in 0..5 {
            let passage = destinations.passage(&h);
            assert_eq!((passage.at_once, passage.from), (4, None));
            destinations.report(&h, false, now);
        }
        let passage = destinations.passage(&h);
        assert_eq!((passage.at_once, passage.from), (1, Some(now + Duration::from_secs(1))));
        assert_eq!(destinations.passage(&destination("other")).at_once, 4);
    }

    #[cfg(feature = "postgres")]
    #[tokio::test(start_paused = true)]
    async fn destination_without_room_is_full_or_waits_for_its_probe() {
        let (destinations, now) = (Destinations::new(2), Instant::now());
        let without_room = |sending: &[(&str, usize)], now| {
            let sending = sending.iter().map(|(host, count)| (destination(host), *count)).collect();
            let (found, next) = destinations.without_room(&sending, now);
            (found.iter().map(ToString::to_string).collect::<Vec<_>>(), next)
        };
        assert_eq!(without_room(&[("a", 1)], now), (vec![], None));
        assert_eq!(without_room(&[("a", 2)], now), (vec!["http://a:80".to_owned()], None));
        for _ in 0..5 {
            destinations.report(&destination("b"), false, now);
        }
        let second = now + Duration::from_secs(1);
        assert_eq!(without_room(&[], now), (vec!["http://b:80".to_owned()], Some(second)));
        assert_eq!(without_room(&[], second), (vec![], None));
        assert_eq!(without_room(&[("b", 1)], second), (vec!["http://b:80".to_owned()], None));
    }

    #[tokio::test(start_paused = true)]
    async fn number_of_breakers_is_bounded() {
        let destinations = Destinations::new(4);
        for host in 0..2 * MAX_BREAKERS {
            destinations.report(&destination(&format!("h{host}")), false, Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let breakers = destinations.lock();
        assert_eq!(breakers.len(), MAX_BREAKERS);
        assert!(breakers.contains_key(&destination(&format!("h{MAX_BREAKERS}"))));
        assert!(!breakers.contains_key(&destination(&format!("h{}", MAX_BREAKERS - 1))));
    }
}
