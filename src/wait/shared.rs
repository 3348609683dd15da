use std::fmt;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::cancel_on_drop::CancelOnDrop;
use super::cancels::Cancels;
use super::health::{Awaited, Checked, GRACE, WebhookHealth};
use super::live::Live;
use super::machine::{Facts, WaitLimits};
use super::reach::Reach;
use super::slow_down::SlowDown;
use super::stats::Counters;
use super::webhook_endpoint::WebhookEndpoint;
use crate::api::OpenEventStream;
use crate::source::{EventStream, Pace, PollPolicy, Polling, Sample};
use crate::submission::{
    DaemonId, DropPolicy, KeepAlive, LostSubmission, Released, SharedSubmission, SubmissionState, TokenId, WaitOwner,
};
use crate::{Error, JobId, SubmitRequest};

/// How long the callers of the waits that a shutdown ends have to drop them.
const LAST_DROPS: Duration = Duration::from_secs(1);

/// How long cancels may take at a shutdown.
const LAST_CANCELS: Duration = Duration::from_secs(10);

/// The options of a [`WaitLayer`](super::WaitLayer).
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) daemon: Option<DaemonId>,
    pub(super) deadline: Option<Duration>,
    pub(super) limits: WaitLimits,
    pub(super) poll_policy: PollPolicy,
    pub(super) webhooks: Option<WebhookEndpoint>,
    pub(super) drop_policy: DropPolicy,
    pub(super) canceller: Option<Arc<dyn CancelOnDrop>>,
    pub(super) event_stream: Option<Arc<dyn OpenEventStream>>,
    /// The daemon is known to support idempotency keys.
    pub(super) idempotency: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { daemon, deadline, limits, poll_policy, webhooks, drop_policy, idempotency, .. } = self;
        f.debug_struct("Settings")
            .field("daemon", daemon)
            .field("deadline", deadline)
            .field("limits", limits)
            .field("poll_policy", poll_policy)
            .field("webhooks", webhooks)
            .field("drop_policy", drop_policy)
            .field("idempotency", idempotency)
            .finish_non_exhaustive()
    }
}

/// What the waits of one service and its clones have in common.
pub(super) struct Shared {
    pub(super) limits: WaitLimits,
    pub(super) polling: Arc<Polling>,
    pub(super) counters: Arc<Counters>,
    pub(super) slow_down: SlowDown,
    pub(super) live: Live,
    pub(super) cancels: Arc<Cancels>,
    daemon: Option<DaemonId>,
    webhooks: Option<WebhookEndpoint>,
    event_stream: Option<Arc<EventStream>>,
    drop_policy: DropPolicy,
    health: WebhookHealth,
    reach: Reach,
    /// The daemon echoed an idempotency key. The only place in the crate that stores it.
    supports_idempotency: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let Settings {
            daemon, limits, poll_policy, webhooks, drop_policy, canceller, event_stream, idempotency, ..
        } = settings;
        let counters = Arc::<Counters>::default();
        Self {
            limits,
            polling: Polling::new(poll_policy),
            cancels: Cancels::new(canceller, Arc::clone(&counters)),
            counters,
            slow_down: SlowDown::default(),
            live: Live::default(),
            daemon,
            webhooks,
            event_stream: event_stream.map(EventStream::new),
            drop_policy,
            health: WebhookHealth::new(),
            reach: Reach::default(),
            supports_idempotency: AtomicBool::new(idempotency),
        }
    }

    pub(super) fn daemon_id(&self) -> Option<&DaemonId> {
        self.daemon.as_ref()
    }

    pub(super) fn owner(self: &Arc<Self>) -> Arc<dyn WaitOwner> {
        Arc::clone(self) as _
    }

    pub(super) fn facts(&self, submission: &KeepAlive) -> Facts {
        let (webhooks, (named_by_event, is_named, lost_at)) = submission
            .read_with_callback(|state| (state.is_named_by_event(), state.job_id().is_some(), state.lost_at()));
        let idempotency = self.supports_idempotency();
        let paused = named_by_event && self.slow_down.end().is_some();
        Facts { webhooks, idempotency, named_by_event, is_named, paused, lost_at }
    }

    /// See [`Wait::shutdown`](super::Wait::shutdown).
    pub(super) async fn shutdown(&self, grace: Duration) -> Vec<JobId> {
        self.cancels.record();
        self.live.drain();
        let ended = timeout(grace, self.live.emptied()).await;
        let mut running = self.live.close();
        running.retain(|(_, submission)| self.is_own(submission));
        if ended.is_err() {
            tracing::debug!(jobs = running.len(), "shutting down before all jobs have ended");
        }
        let policy = |submission: &SharedSubmission| self.drop_policy(submission);
        self.cancels.closed(running.into_iter().map(|(job_id, submission)| (job_id, policy(&submission))).collect());
        // The waits that are polled end now, and their callers drop the requests.
        let last_drops = async {
            self.live.emptied().await;
            self.cancels.dropped().await;
        };
        let _ = timeout(LAST_DROPS, last_drops).await;
        if timeout(LAST_CANCELS, self.cancels.finished()).await.is_err() {
            tracing::debug!("shutting down before all abandoned jobs are cancelled");
        }
        if let Some(stream) = &self.event_stream {
            stream.close();
        }
        self.cancels.going_on()
    }

    /// The drop policy of a submission: that of the request, else that of the service.
    pub(super) fn drop_policy(&self, submission: &SharedSubmission) -> DropPolicy {
        submission.drop_policy.unwrap_or(self.drop_policy)
    }

    /// A wait ends. If the job would be cancelled and its id is not known, the last holder has to find it first.
    pub(super) fn leave_draft(&self, request: &SubmitRequest) {
        if self.drop_policy(request.keep_alive().shared()) != DropPolicy::Detach {
            request.leave_draft();
        }
    }

    /// Whether the submission is not of another daemon. A wait on such a submission fails here.
    fn is_own(&self, submission: &SharedSubmission) -> bool {
        submission.daemon_id().is_none_or(|of| self.daemon.as_ref().is_none_or(|daemon| *daemon == of))
    }

    /// A wait ends. A shutdown that has begun records what becomes of its job.
    pub(super) fn wait_ended(&self, submission: &SharedSubmission) {
        if self.live.is_draining()
            && self.is_own(submission)
            && let Some(job_id) = submission.read(|state| state.job_id().cloned())
        {
            if submission.read(SubmissionState::has_result) {
                self.cancels.has_ended(job_id);
            } else {
                self.cancels.goes_on(job_id);
            }
        }
    }

    /// The daemon accepted a submission, and echoed its key or did not.
    pub(super) fn learn_idempotency(&self, supported: bool) {
        self.supports_idempotency.store(supported, Relaxed);
    }

    /// The daemon responded.
    pub(super) fn responded(&self) {
        self.reach.responded();
    }

    /// A request failed, of a wait or of whoever else asks this daemon.
    pub(super) fn failed(&self, error: &Error) {
        if self.reach.failed(error)
            && let Some(webhooks) = &self.webhooks
            && self.health.is_working()
        {
            tracing::debug!(
                error = error as &dyn std::error::Error,
                "daemon does not respond; polling faster until it does"
            );
            webhooks.notifier().wake_all();
        }
    }

    /// How often to poll a job: slowly while webhooks work, rarely while the event stream is open, faster while neither has been seen to
    /// work, an event was missed, or the daemon does not respond. `period`: the one of the event stream in which the wait depends on it.
    pub(super) fn pace(&self, submission: &KeepAlive, period: Option<NonZeroU16>) -> Pace {
        let webhooks = submission.has_callback() && !self.is_interrupted() && !self.reach.is_lost();
        if webhooks && self.health.is_working() && submission.shared().expects_events() {
            Pace::Slow
        } else if period.is_some() && period == self.stream_period() && submission.shared().expects_events() {
            if submission.shared().may_be_shared() { Pace::Slow } else { Pace::Rare }
        } else if webhooks {
            Pace::Unproven
        } else {
            Pace::Steady
        }
    }

    /// Whether no webhook can come for now.
    fn is_interrupted(&self) -> bool {
        self.webhooks.as_ref().is_none_or(|webhooks| webhooks.notifier().is_interrupted())
    }

    /// The present period of the event stream. `None` while it is not open.
    pub(super) fn stream_period(&self) -> Option<NonZeroU16> {
        self.event_stream.as_ref()?.period()
    }

    /// What is known of the event stream before a request is sent.
    pub(super) fn sample_stream(&self) -> Option<Sample> {
        self.event_stream.as_ref()?.sample()
    }

    /// The submission was accepted. If no event can have been lost since `sent`, before it was sent, the events are enough: the period of
    /// the event stream.
    pub(super) fn depend_on_stream(
        self: &Arc<Self>,
        submission: &KeepAlive,
        sent: Option<Sample>,
    ) -> Option<NonZeroU16> {
        let sent = sent.filter(|sent| self.sample_stream() == Some(*sent))?;
        self.is_streamed(submission).then_some(sent.period)
    }

    /// Whether the submission names the event stream.
    pub(super) fn is_streamed(self: &Arc<Self>, submission: &KeepAlive) -> bool {
        submission.is_streamed_to(&self.owner())
    }

    /// A wait polls the job from now on. Returns whether it also gets the events of the event stream.
    pub(super) fn subscribe(self: &Arc<Self>, submission: &KeepAlive, job_id: &JobId) -> bool {
        let Some(stream) = &self.event_stream else { return false };
        let streamed = self.is_streamed(submission);
        // Another task, if the one before has ended with its runtime.
        let subscribes = if streamed { stream.open() } else { stream.period().is_some() };
        if subscribes {
            stream.subscribe(job_id, submission.shared());
        }
        subscribes
    }

    pub(super) fn unsubscribe(&self, submission: &KeepAlive, job_id: &JobId) {
        if let Some(stream) = &self.event_stream {
            stream.unsubscribe(job_id, submission.shared());
        }
    }

    /// A poll is about to provide the result of a submission that is registered for webhooks. If its event does not come either within
    /// the grace, webhooks get lost.
    pub(super) fn await_event(self: &Arc<Self>, token: TokenId) {
        let Some(webhooks) = &self.webhooks else { return };
        let awaited = self.health.await_event(token, Instant::now());
        if awaited == Awaited::No {
            return;
        }
        webhooks.notifier().await_event(token, Arc::downgrade(&self.owner()));
        if awaited == Awaited::Unchecked
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(check_awaited(Arc::downgrade(self)));
        }
    }

    /// An event provided the result after all.
    pub(super) fn await_no_event(&self, token: TokenId) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.notifier().is_missing(token);
        }
    }

    /// Checks the events whose grace is over. Returns when to check again.
    fn check_awaited(&self) -> Option<Instant> {
        let notifier = self.webhooks.as_ref()?.notifier();
        let Checked { missing, turned, next } = self.health.check(Instant::now(), |token| notifier.is_missing(token));
        self.counters.rescued.add_many(missing);
        if turned {
            tracing::debug!(missing, "no webhook came for finished jobs; polling faster until one does");
            notifier.wake_all();
        }
        next
    }
}

/// A notifier may outlive many clients that share it.
impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(webhooks) = &self.webhooks {
            for token in self.health.awaited() {
                webhooks.notifier().is_missing(token);
            }
        }
    }
}

/// Runs while events are awaited.
async fn check_awaited(shared: Weak<Shared>) {
    let mut next = Instant::now() + GRACE;
    loop {
        sleep_until(next).await;
        match shared.upgrade().and_then(|shared| shared.check_awaited()) {
            Some(time) => next = time,
            None => return,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).field("webhooks", &self.webhooks).finish_non_exhaustive()
    }
}

impl WaitOwner for Shared {
    fn register(&self, submission: &Arc<SharedSubmission>) -> Result<Option<TokenId>, Error> {
        self.webhooks.as_ref().map(|webhooks| webhooks.register(submission)).transpose()
    }

    fn daemon(&self) -> Option<&DaemonId> {
        self.daemon.as_ref()
    }

    fn callback_url(&self, token: TokenId) -> String {
        let url = self.webhooks.as_ref().and_then(|webhooks| webhooks.callback_url(token));
        url.unwrap_or_default()
    }

    fn open_event_stream(self: Arc<Self>) -> bool {
        let webhooks_work = self.health.is_working() && !self.is_interrupted();
        !webhooks_work && self.event_stream.as_ref().is_some_and(EventStream::open)
    }

    fn event_stream(&self) -> Option<&str> {
        self.event_stream.as_deref().map(EventStream::name)
    }

    fn supports_idempotency(&self) -> bool {
        self.supports_idempotency.load(Relaxed)
    }

    fn webhook_arrived(&self) {
        self.health.arrived();
        self.reach.responded();
    }

    fn refused(&self, error: &Error) {
        self.slow_down.refused(error);
    }

    fn paused_until(&self) -> Option<Instant> {
        self.slow_down.end()
    }

    fn lost(self: Arc<Self>, lost: LostSubmission) {
        let policy = self.drop_policy(lost.keep_alive.shared());
        if policy != DropPolicy::Detach && self.supports_idempotency() {
            self.cancels.submission(lost.into());
        }
    }

    fn released(self: Arc<Self>, released: Released) {
        let Released { token, unfinished, lost, drop_policy } = released;
        if let (Some(webhooks), Some(token)) = (&self.webhooks, token) {
            webhooks.notifier.release(token);
        }
        let policy = drop_policy.unwrap_or(self.drop_policy);
        if policy == DropPolicy::Detach {
            if let Some(job_id) = unfinished.filter(|_| self.live.is_draining()) {
                self.cancels.goes_on(job_id);
            }
            return;
        }
        match unfinished {
            Some(job_id) => self.cancels.job(job_id, policy),
            None if lost => self.cancels.unknown(),
            None => {}
        }
    }
}
