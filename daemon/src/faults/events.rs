use std::time::Duration;

use super::handle::Faults;
use super::state::{OfEvents, State};
use super::{Forgery, Times};

/// Faults of all events, or of those that tell an end. Each attempt at an event counts as one.
///
/// One event can have several: it is put behind another, then held back, then silenced or else spoilt, then repeated.
#[derive(Debug, Clone, Copy)]
#[must_use = "it names events, and a fault of theirs is to follow"]
pub struct EventFaults<'a> {
    faults: &'a Faults,
    scope: EventScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventScope {
    All,
    Last,
}

impl<'a> EventFaults<'a> {
    pub(super) fn new(faults: &'a Faults, scope: EventScope) -> Self {
        Self { faults, scope }
    }

    /// Holds an event back for so long, and with it the later ones of its job, but no other job's.
    ///
    /// A held event is in the daemon's books as one that is being sent: [`shutdown`](crate::Daemon::shutdown) sends it at
    /// once, and after a crash a daemon that [keeps its jobs](crate::Builder::store) sends it again.
    pub fn delay(self, delay: Duration, times: Times) {
        self.set(|events| events.delay.arm(delay, times));
    }

    /// Does not send an event, and goes on as if it had been delivered.
    pub fn silence(self, times: Times) {
        self.set(|events| events.silence.arm((), times));
    }

    /// Sends an event once more when it has been delivered, under the same `webhook-id`. The daemon's statistics know nothing
    /// of it.
    pub fn duplicate(self, times: Times) {
        self.set(|events| events.duplicate.arm((), times));
    }

    /// Holds an event until there is a next one of its job, and sends that first. To one event it happens once, and never to the
    /// last of a job. What [`delay`](Self::delay) says of a held event is so here too.
    pub fn reorder(self, times: Times) {
        self.set(|events| events.reorder.arm((), times));
    }

    /// Sends what is not so in place of the event. A receiver that refuses it has the event sent again, by the daemon's
    /// [schedule](crate::Builder::webhook_retries), and that is another event to be forged or not.
    pub fn forge(self, forgery: Forgery, times: Times) {
        self.set(|events| events.forge.arm(forgery, times));
    }

    /// Changes the last byte of each signature, so that it can be read and is wrong. What a refusal does is as with
    /// [`forge`](Self::forge). Without a [secret](crate::Builder::webhook_secret) there is nothing to change, and it does
    /// not count.
    pub fn missign(self, times: Times) {
        self.set(|events| events.missign.arm((), times));
    }

    /// Takes these faults back. Every event that is held, by whichever fault, is sent now.
    pub fn clear(self) {
        self.set(|events| *events = OfEvents::default());
        self.faults.state().send.send_replace(());
    }

    fn set(self, change: impl FnOnce(&mut OfEvents)) {
        let mut state = self.faults.state();
        change(match self.scope {
            EventScope::All => &mut state.events,
            EventScope::Last => &mut state.last_events,
        });
    }
}

impl State {
    /// The fault of the events that tell an end, if it is one; else that of all.
    pub(super) fn of_event<T>(&mut self, is_last: bool, mut take: impl FnMut(&mut OfEvents) -> Option<T>) -> Option<T> {
        let of_last = if is_last { take(&mut self.last_events) } else { None };
        of_last.or_else(|| take(&mut self.events))
    }
}
