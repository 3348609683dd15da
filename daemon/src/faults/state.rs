use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;

use super::times::Armed;
use super::{Forgery, Refusal};

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) submissions: OfRequests,
    pub(super) polls: OfRequests,
    pub(super) cancels: OfRequests,
    pub(super) requests: OfRequests,
    pub(super) events: OfEvents,
    pub(super) last_events: OfEvents,
    /// The events that were put behind another: that happens to each once.
    pub(super) reordered: HashSet<Box<str>>,
    pub(super) stall: Armed<()>,
    /// Lets the events go that are held.
    pub(super) send: watch::Sender<()>,
    /// Lets the jobs go that are stalled.
    pub(super) begin: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct OfRequests {
    pub(super) refuse: Armed<Refusal>,
    pub(super) lose: Armed<()>,
}

#[derive(Debug, Default)]
pub(super) struct OfEvents {
    pub(super) delay: Armed<Duration>,
    pub(super) silence: Armed<()>,
    pub(super) duplicate: Armed<()>,
    pub(super) reorder: Armed<()>,
    pub(super) forge: Armed<Forgery>,
    pub(super) missign: Armed<()>,
}

impl State {
    pub(super) fn clear(&mut self) {
        for requests in [&mut self.submissions, &mut self.polls, &mut self.cancels, &mut self.requests] {
            *requests = OfRequests::default();
        }
        self.events = OfEvents::default();
        self.last_events = OfEvents::default();
        self.reordered.clear();
        self.send.send_replace(());
        self.release();
    }

    pub(super) fn release(&mut self) {
        self.stall = Armed::default();
        self.begin.send_replace(());
    }
}
