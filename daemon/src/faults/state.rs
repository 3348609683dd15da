use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

use super::times::Armed;
use super::{Forgery, InjectedResponse};

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) submissions: RequestState,
    pub(super) polls: RequestState,
    pub(super) cancels: RequestState,
    pub(super) requests: RequestState,
    pub(super) events: EventState,
    pub(super) last_events: EventState,
    /// The ids of the events that were reordered: an event is reordered at most once.
    pub(super) reordered: HashSet<Box<str>>,
    pub(super) stall: Armed<()>,
    /// Notifies the events that are held back.
    pub(super) events_released: watch::Sender<()>,
    /// Notifies the jobs that are stalled.
    pub(super) jobs_released: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct RequestState {
    pub(super) reject: Armed<InjectedResponse>,
    pub(super) lose: Armed<()>,
}

#[derive(Debug, Default)]
pub(super) struct EventState {
    pub(super) delay: Armed<Duration>,
    pub(super) silence: Armed<()>,
    pub(super) duplicate: Armed<()>,
    pub(super) reorder: Armed<()>,
    pub(super) forge: Armed<Forgery>,
    pub(super) sign_wrongly: Armed<()>,
}

impl State {
    pub(super) fn clear(&mut self) {
        for requests in [&mut self.submissions, &mut self.polls, &mut self.cancels, &mut self.requests] {
            *requests = RequestState::default();
        }
        self.events = EventState::default();
        self.last_events = EventState::default();
        self.reordered.clear();
        self.release_events();
        self.release_jobs();
    }

    pub(super) fn release_events(&mut self) {
        self.events_released.send_replace(());
    }

    pub(super) fn release_jobs(&mut self) {
        self.stall = Armed::default();
        self.jobs_released.send_replace(());
    }
}
