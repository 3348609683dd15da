use std::time::Duration;

use super::state::{EventState, State};
use super::{Faults, Forgery, Times};

/// Faults of all events, or of terminal events only. Each attempt at an event counts as one.
///
/// One event can have several faults. They apply in this order: reorder or delay, silence, forge, wrong signature, duplicate.
#[derive(Debug, Clone, Copy)]
#[must_use = "it only selects events; call a method to set a fault"]
pub struct EventFaults<'a> {
    faults: &'a Faults,
    scope: EventScope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventScope {
    All,
    Terminal,
}

impl<'a> EventFaults<'a> {
    pub(super) fn new(faults: &'a Faults, scope: EventScope) -> Self {
        Self { faults, scope }
    }

    /// Holds an event back for this long, and with it the later events of its job. Events of other jobs are sent.
    ///
    /// For the daemon, the attempt is still in flight: [`shutdown`](crate::Daemon::shutdown) sends the event at once, and after a
    /// crash a daemon with a [file](crate::Builder::store) sends it again.
    pub fn delay(self, delay: Duration, times: Times) {
        self.set(|events| events.delay.arm(delay, times));
    }

    /// Drops an event. The daemon counts it as delivered.
    pub fn silence(self, times: Times) {
        self.set(|events| events.silence.arm((), times));
    }

    /// Sends an event a second time once it has been delivered, with the same `webhook-id`. The daemon's
    /// [statistics](crate::Daemon::stats) do not count the second webhook.
    pub fn duplicate(self, times: Times) {
        self.set(|events| events.duplicate.arm((), times));
    }

    /// Sends an event after the next one of its job.
    ///
    /// The event is held back until the job changes its state, as with [`delay`](Self::delay). Then it is marked as delivered, and
    /// sent once the next event has been delivered. Its outcome counts as that of the next event: if the receiver does not accept
    /// it, it is retried by the same schedule. In between it is in memory only: a crash of the daemon loses it.
    ///
    /// An event is reordered at most once, and the terminal event of a job never.
    pub fn reorder(self, times: Times) {
        self.set(|events| events.reorder.arm((), times));
    }

    /// Sends a forged event in place of the event. If the receiver rejects it, the daemon retries by its
    /// [schedule](crate::Builder::webhook_retries); each retry is an event to forge or not.
    pub fn forge(self, forgery: Forgery, times: Times) {
        self.set(|events| events.forge.arm(forgery, times));
    }

    /// Changes the last byte of each signature, so that the signature is well-formed but wrong. Retries are as with
    /// [`forge`](Self::forge). Without a [secret](crate::Builder::webhook_secret) it has no effect and does not count.
    pub fn sign_wrongly(self, times: Times) {
        self.set(|events| events.sign_wrongly.arm((), times));
    }

    /// Clears these faults, and sends all events that are held back, whichever fault holds them.
    pub fn clear(self) {
        self.set(|events| *events = EventState::default());
        self.faults.state().release_events();
    }

    fn set(self, change: impl FnOnce(&mut EventState)) {
        let mut state = self.faults.state();
        change(match self.scope {
            EventScope::All => &mut state.events,
            EventScope::Terminal => &mut state.last_events,
        });
    }
}

impl State {
    /// The fault of terminal events if the event is one, else that of all events.
    pub(super) fn of_event<T>(
        &mut self,
        is_terminal: bool,
        mut take: impl FnMut(&mut EventState) -> Option<T>,
    ) -> Option<T> {
        let terminal = if is_terminal { take(&mut self.last_events) } else { None };
        terminal.or_else(|| take(&mut self.events))
    }
}
