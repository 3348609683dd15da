use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use tokio::time::Instant;

use super::Destination;
use super::destinations::{Destinations, Passage};

#[cfg(test)]
mod tests;

/// The jobs whose first event is waiting or being sent, by destination.
///
/// A claim takes the event that is due first among those whose destination has room and whose breaker lets it through. Each
/// destination has a queue of its own and at most one place in `next`, so that a claim costs the same however many events of a
/// blocked destination wait.
///
/// An event whose destination is `None`, not known yet, has no limit.
#[derive(Debug)]
pub(super) struct DueEvents<K> {
    limits: Arc<Destinations>,
    jobs: HashMap<K, Scheduled>,
    queues: HashMap<Option<Destination>, EventQueue<K>>,
    /// The destinations with room for the first of their waiting events, by the time when it may be sent.
    next: BTreeMap<Place, Option<Destination>>,
    tickets: u64,
}

/// The time when an event is due, and a number that orders the events of one time.
type Place = (Instant, u64);

#[derive(Debug)]
struct Scheduled {
    place: Place,
    destination: Option<Destination>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    /// Counted at this destination, where the job may have been moved from.
    Sending(Option<Destination>),
}

#[derive(Debug)]
struct EventQueue<K> {
    waiting: BTreeMap<Place, K>,
    /// How many events are being sent.
    sending: usize,
    /// Its key in `next`.
    next: Option<Place>,
}

impl<K> Default for EventQueue<K> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), sending: 0, next: None }
    }
}

/// The result of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due<K> {
    Now(K),
    /// The next event may be sent then.
    At(Instant),
    /// No event waits, or a destination must have room first.
    Nothing,
}

impl<K: Clone + Eq + Hash> DueEvents<K> {
    pub(super) fn new(limits: Arc<Destinations>) -> Self {
        Self { limits, jobs: HashMap::new(), queues: HashMap::new(), next: BTreeMap::new(), tickets: 0 }
    }

    /// Schedules the first event of a job. Does nothing if one is waiting or being sent, since a job's events are sent one at a
    /// time.
    pub(super) fn schedule(&mut self, job: K, destination: Option<Destination>, at: Instant) {
        if !self.jobs.contains_key(&job) {
            self.tickets += 1;
            self.wait(job, destination, (at, self.tickets));
        }
    }

    /// Claims the event that is due first.
    pub(super) fn claim(&mut self, now: Instant) -> Due<K> {
        while let Some((place, destination)) = self.next.first_key_value() {
            if place.0 > now {
                return Due::At(place.0);
            }
            let destination = destination.clone();
            if self.has_room(destination.as_ref(), now)
                && let Some(queue) = self.queues.get_mut(&destination)
                && let Some((_, job)) = queue.waiting.pop_first()
            {
                queue.sending += 1;
                if let Some(scheduled) = self.jobs.get_mut(&job) {
                    scheduled.state = State::Sending(destination.clone());
                }
                self.place(&destination);
                return Due::Now(job);
            }
            // Its breaker has opened since it got its place.
            self.place(&destination);
        }
        Due::Nothing
    }

    /// Removes a job after its event was sent, or because it has none. Returns its destination.
    pub(super) fn settle(&mut self, job: &K) -> Option<Destination> {
        let Scheduled { place, destination, state } = self.jobs.remove(job)?;
        match state {
            State::Waiting => self.leave(&destination, place),
            State::Sending(counted) => self.release(&counted),
        }
        destination
    }

    /// Removes a job unless its event is being sent.
    pub(super) fn withdraw(&mut self, job: &K) {
        if self.jobs.get(job).is_some_and(|scheduled| matches!(scheduled.state, State::Waiting)) {
            self.settle(job);
        }
    }

    /// Sends the events of a job to another destination from now on. Does nothing for a job without events.
    pub(super) fn move_to(&mut self, job: &K, destination: Destination) {
        let Some(scheduled) = self.jobs.get_mut(job) else { return };
        let (place, from) = (scheduled.place, scheduled.destination.replace(destination.clone()));
        if matches!(scheduled.state, State::Waiting) {
            self.leave(&from, place);
            self.wait(job.clone(), Some(destination), place);
        }
    }

    fn wait(&mut self, job: K, destination: Option<Destination>, place: Place) {
        self.queues.entry(destination.clone()).or_default().waiting.insert(place, job.clone());
        self.place(&destination);
        self.jobs.insert(job, Scheduled { place, destination, state: State::Waiting });
    }

    fn leave(&mut self, destination: &Option<Destination>, place: Place) {
        if let Some(queue) = self.queues.get_mut(destination) {
            queue.waiting.remove(&place);
        }
        self.place(destination);
    }

    fn release(&mut self, destination: &Option<Destination>) {
        if let Some(queue) = self.queues.get_mut(destination) {
            queue.sending = queue.sending.saturating_sub(1);
        }
        self.place(destination);
    }

    fn passage(&self, destination: Option<&Destination>) -> Passage {
        destination.map_or(Passage { at_once: usize::MAX, from: None }, |destination| self.limits.passage(destination))
    }

    fn has_room(&self, destination: Option<&Destination>, now: Instant) -> bool {
        let passage = self.passage(destination);
        let sending = self.queues.get(&destination.cloned()).map_or(0, |queue| queue.sending);
        sending < passage.at_once && passage.from.is_none_or(|from| from <= now)
    }

    /// Gives a destination that has changed its place in `next`, and forgets one without events.
    fn place(&mut self, destination: &Option<Destination>) {
        let passage = self.passage(destination.as_ref());
        let Some(queue) = self.queues.get_mut(destination) else { return };
        if let Some(place) = queue.next.take() {
            self.next.remove(&place);
        }
        match queue.waiting.first_key_value() {
            Some(((at, ticket), _)) if queue.sending < passage.at_once => {
                let place = (passage.from.map_or(*at, |from| from.max(*at)), *ticket);
                queue.next = Some(place);
                self.next.insert(place, destination.clone());
            }
            None if queue.sending == 0 => {
                self.queues.remove(destination);
            }
            _ => {}
        }
    }
}

/// For a store that reads an event to know its destination.
#[cfg(feature = "sqlite")]
impl<K: Clone + Eq + Hash> DueEvents<K> {
    /// When the next event may be sent.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next.first_key_value().map(|((at, _), _)| *at)
    }

    /// Counts a claimed event at its destination, once that is known. Returns `false` if there is no room for it; then it waits
    /// again, at its place.
    pub(super) fn set_destination(&mut self, job: &K, destination: &Destination, now: Instant) -> bool {
        let Some(scheduled) = self.jobs.get_mut(job) else { return false };
        let State::Sending(counted) = &mut scheduled.state else { return false };
        if counted.as_ref() == Some(destination) {
            return true;
        }
        let (before, place) = (counted.take(), scheduled.place);
        self.release(&before);
        let destination = Some(destination.clone());
        if self.has_room(destination.as_ref(), now) {
            self.count(job.clone(), destination, place);
            return true;
        }
        self.wait(job.clone(), destination, place);
        false
    }

    /// Counts an event that is being sent.
    pub(super) fn resume(&mut self, job: K, destination: Destination, now: Instant) {
        self.tickets += 1;
        self.count(job, Some(destination), (now, self.tickets));
    }

    fn count(&mut self, job: K, destination: Option<Destination>, place: Place) {
        self.queues.entry(destination.clone()).or_default().sending += 1;
        self.place(&destination);
        self.jobs.insert(job, Scheduled { place, state: State::Sending(destination.clone()), destination });
    }

    /// The destinations of the jobs, as far as they are known.
    pub(super) fn destinations(&self) -> HashMap<K, Destination> {
        self.jobs.iter().filter_map(|(job, scheduled)| Some((job.clone(), scheduled.destination.clone()?))).collect()
    }
}

#[cfg(test)]
impl<K: Clone + Eq + Hash> DueEvents<K> {
    /// The jobs with a waiting event.
    pub(super) fn waiting(&self) -> Vec<K> {
        self.queues.values().flat_map(|queue| queue.waiting.values().cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }
}
