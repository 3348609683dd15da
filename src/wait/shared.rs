use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::cancel_on_drop::{CancelOnDrop, cancel_in_background};
use super::machine::{Facts, WaitLimits};
use super::stats::Counters;
use super::webhook_endpoint::WebhookEndpoint;
use crate::Error;
use crate::api::BaseUrl;
use crate::source::{Pace, PollPolicy, Polling};
use crate::submission::{CallbackToken, DropPolicy, KeepAlive, Released, SharedSubmission, WaitOwner};

/// The options of a [`WaitLayer`](super::WaitLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) daemon: Option<BaseUrl>,
    pub(super) deadline: Option<Duration>,
    pub(super) limits: WaitLimits,
    pub(super) poll_policy: PollPolicy,
    pub(super) webhooks: Option<WebhookEndpoint>,
    pub(super) drop_policy: DropPolicy,
    pub(super) canceller: Option<Arc<dyn CancelOnDrop>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { daemon, deadline, limits, poll_policy, webhooks, drop_policy, canceller: _ } = self;
        f.debug_struct("Settings")
            .field("daemon", daemon)
            .field("deadline", deadline)
            .field("limits", limits)
            .field("poll_policy", poll_policy)
            .field("webhooks", webhooks)
            .field("drop_policy", drop_policy)
            .finish_non_exhaustive()
    }
}

/// What the waits of one service and its clones have in common.
pub(super) struct Shared {
    pub(super) limits: WaitLimits,
    pub(super) polling: Arc<Polling>,
    pub(super) counters: Arc<Counters>,
    daemon: Option<BaseUrl>,
    webhooks: Option<WebhookEndpoint>,
    drop_policy: DropPolicy,
    canceller: Option<Arc<dyn CancelOnDrop>>,
    health: WebhookHealth,
    /// The daemon echoed an idempotency key. The only place in the crate that stores it.
    supports_idempotency: AtomicBool,
}

/// Whether webhooks arrive.
#[derive(Debug)]
struct WebhookHealth(AtomicU8);

impl WebhookHealth {
    const UNPROVEN: u8 = 0;
    const WORKING: u8 = 1;
    const MISSED: u8 = 2;
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings { daemon, deadline: _, limits, poll_policy, webhooks, drop_policy, canceller } = settings;
        Self {
            limits,
            polling: Polling::new(poll_policy),
            counters: Arc::default(),
            daemon,
            webhooks,
            drop_policy,
            canceller,
            health: WebhookHealth(AtomicU8::new(WebhookHealth::UNPROVEN)),
            supports_idempotency: AtomicBool::new(false),
        }
    }

    pub(super) fn facts(&self, submission: &KeepAlive) -> Facts {
        Facts { webhooks: submission.has_callback(), idempotency: self.supports_idempotency() }
    }

    /// The daemon accepted a submission, and echoed its key or did not.
    pub(super) fn learn_idempotency(&self, supported: bool) {
        self.supports_idempotency.store(supported, Relaxed);
    }

    /// How often to poll a job: slowly while webhooks work, faster while they have not been seen to work or one was missed.
    pub(super) fn pace(&self, submission: &KeepAlive) -> Pace {
        match (submission.has_callback(), self.health.0.load(Relaxed)) {
            (false, _) => Pace::Steady,
            (true, WebhookHealth::WORKING) => Pace::Slow,
            (true, _) => Pace::Unproven,
        }
    }

    /// A poll returned a result that no event had. Returns whether webhooks were thought to work.
    pub(super) fn webhook_missed(&self, submission: &KeepAlive) -> bool {
        let (from, to) = (WebhookHealth::WORKING, WebhookHealth::MISSED);
        submission.has_callback() && self.health.0.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).field("webhooks", &self.webhooks).finish_non_exhaustive()
    }
}

impl WaitOwner for Shared {
    fn register(&self, submission: &Arc<SharedSubmission>) -> Result<Option<CallbackToken>, Error> {
        self.webhooks.as_ref().map(|webhooks| webhooks.notifier.register(submission)).transpose()
    }

    fn daemon(&self) -> Option<&BaseUrl> {
        self.daemon.as_ref()
    }

    fn callback_url(&self, token: CallbackToken) -> String {
        let base = self.webhooks.as_ref().map_or("", WebhookEndpoint::public_url);
        format!("{base}/{token}")
    }

    fn supports_idempotency(&self) -> bool {
        self.supports_idempotency.load(Relaxed)
    }

    fn webhook_arrived(&self) {
        self.health.0.store(WebhookHealth::WORKING, Relaxed);
    }

    fn released(self: Arc<Self>, released: Released) {
        let Released { token, unfinished, lost, drop_policy } = released;
        if let (Some(webhooks), Some(token)) = (&self.webhooks, token) {
            webhooks.notifier.release(token);
        }
        let policy = drop_policy.unwrap_or(self.drop_policy);
        if policy == DropPolicy::Detach {
            return;
        }
        match (unfinished, &self.canceller) {
            (Some(job_id), Some(canceller)) => cancel_in_background(&self.counters, &**canceller, job_id, policy),
            (Some(_), None) => self.counters.cancels_failed.add(),
            (None, _) if lost => self.counters.cancels_failed.add(),
            (None, _) => {}
        }
    }
}
