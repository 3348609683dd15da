use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use super::machine::{Known, Limits};
use super::push::Push;
use super::stats::Counters;
use crate::source::{Pace, Polling};
use crate::submission::{Cell, Hold, Home, Token};
use crate::{Error, JobId, JobState};

/// What the waits of one service share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) polling: Arc<Polling>,
    pub(super) counters: Counters,
    push: Option<Push>,
    health: Health,
    keeps_keys: AtomicBool,
}

/// Whether webhooks arrive.
#[derive(Debug)]
struct Health(AtomicU8);

impl Health {
    const UNPROVEN: u8 = 0;
    const WORKING: u8 = 1;
    const MISSED: u8 = 2;
}

impl Shared {
    pub(super) fn new(limits: Limits, polling: Arc<Polling>, push: Option<Push>) -> Self {
        let health = Health(AtomicU8::new(Health::UNPROVEN));
        Self { limits, polling, counters: Counters::default(), push, health, keeps_keys: AtomicBool::new(false) }
    }

    /// What the machine is to know beside what happens to `hold`.
    pub(super) fn known(&self, hold: &Hold) -> Known {
        Known { events: hold.has_callback(), keeps_keys: self.keeps_keys.load(Relaxed) }
    }

    /// The daemon has answered a submission.
    pub(super) fn learn_keys(&self, keeps_keys: bool) {
        self.keeps_keys.store(keeps_keys, Relaxed);
    }

    /// How often to ask for a job: slowly while webhooks work, steadily while they have never worked or have missed one.
    pub(super) fn pace(&self, hold: &Hold) -> Pace {
        if hold.has_callback() && self.health.0.load(Relaxed) == Health::WORKING { Pace::Slow } else { Pace::Steady }
    }

    /// A poll told the end of a job, and no event had. Says whether webhooks should have.
    pub(super) fn missed(&self, hold: &Hold) -> bool {
        let order = (Relaxed, Relaxed);
        hold.has_callback() && self.health.0.compare_exchange(Health::WORKING, Health::MISSED, order.0, order.1).is_ok()
    }
}

impl Home for Shared {
    fn lodge(&self, cell: &Arc<Cell>) -> Result<Option<Token>, Error> {
        self.push.as_ref().map(|push| push.notifier.register(cell)).transpose()
    }

    fn callback_url(&self, token: Token) -> String {
        let base = self.push.as_ref().map_or("", Push::url);
        format!("{base}/{token}")
    }

    fn heard(&self) {
        self.health.0.store(Health::WORKING, Relaxed);
    }

    fn released(&self, token: Option<Token>, _job_id: Option<JobId>, _last_state: Option<JobState>) {
        if let (Some(push), Some(token)) = (&self.push, token) {
            push.notifier.release(token);
        }
    }
}
