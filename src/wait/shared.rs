use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::abandon::{Abandon, cancel_in_background};
use super::machine::{Known, Limits};
use super::push::Push;
use super::stats::Counters;
use crate::Error;
use crate::source::{Pace, PollPolicy, Polling};
use crate::submission::{Cell, DropPolicy, Hold, Home, Released, Token};

/// How the waits of a service go.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) deadline: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) poll_policy: PollPolicy,
    pub(super) push: Option<Push>,
    pub(super) drop_policy: DropPolicy,
    pub(super) abandon: Option<Arc<dyn Abandon>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deadline, limits, poll_policy, push, drop_policy, abandon: _ } = self;
        f.debug_struct("Settings")
            .field("deadline", deadline)
            .field("limits", limits)
            .field("poll_policy", poll_policy)
            .field("push", push)
            .field("drop_policy", drop_policy)
            .finish_non_exhaustive()
    }
}

/// What the waits of one service share.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) polling: Arc<Polling>,
    pub(super) counters: Counters,
    push: Option<Push>,
    drop_policy: DropPolicy,
    abandon: Option<Arc<dyn Abandon>>,
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
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { deadline: _, limits, poll_policy, push, drop_policy, abandon } = settings;
        Self {
            limits,
            polling: Polling::new(poll_policy),
            counters: Counters::default(),
            push,
            drop_policy,
            abandon,
            health: Health(AtomicU8::new(Health::UNPROVEN)),
            keeps_keys: AtomicBool::new(false),
        }
    }

    /// What the machine is to know beside what happens to `hold`.
    pub(super) fn known(&self, hold: &Hold) -> Known {
        Known {
            events: hold.has_callback(),
            keeps_keys: self.keeps_keys.load(Relaxed),
            own: hold.cell().key().is_some(),
        }
    }

    /// The daemon has answered a submission.
    pub(super) fn learn_keys(&self, keeps_keys: bool) {
        self.keeps_keys.store(keeps_keys, Relaxed);
    }

    /// How often to ask for a job: slowly while webhooks work, faster while they have never worked or have missed one.
    pub(super) fn pace(&self, hold: &Hold) -> Pace {
        match (hold.has_callback(), self.health.0.load(Relaxed)) {
            (false, _) => Pace::Steady,
            (true, Health::WORKING) => Pace::Slow,
            (true, _) => Pace::Unproven,
        }
    }

    /// A poll told the end of a job, and no event had. Says whether webhooks should have.
    pub(super) fn missed(&self, hold: &Hold) -> bool {
        let order = (Relaxed, Relaxed);
        hold.has_callback() && self.health.0.compare_exchange(Health::WORKING, Health::MISSED, order.0, order.1).is_ok()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).field("push", &self.push).finish_non_exhaustive()
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

    fn released(self: Arc<Self>, released: Released) {
        let Released { token, unfinished, lost, policy } = released;
        if let (Some(push), Some(token)) = (&self.push, token) {
            push.notifier.release(token);
        }
        let policy = policy.unwrap_or(self.drop_policy);
        if policy == DropPolicy::Detach {
            return;
        }
        match (unfinished, self.abandon.clone()) {
            (Some(job_id), Some(abandon)) => cancel_in_background(self, &*abandon, job_id, policy),
            (Some(_), None) => self.counters.cancels_failed.add(),
            (None, _) if lost => self.counters.cancels_failed.add(),
            (None, _) => {}
        }
    }
}
