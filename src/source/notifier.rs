use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError, Weak};

use foreman_protocol::webhook::Secret;

use super::client_secrets::ClientSecrets;
use super::stats::{RefusalReason, WebhookCounters, WebhookStats};
use crate::error::Kind;
use crate::submission::{EventOutcome, SharedSubmission, SubmissionState, TokenId, TokenKey, Trust, WaitOwner};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::sync::{Mutex, MutexGuard};
use crate::{Error, JobStatus};

/// How many submissions may be registered at once unless set otherwise.
const CAPACITY: usize = 1 << 20;

/// The webhook registry: maps the token of each callback URL to the submission that waits for its events.
///
/// A [`WebhookReceiver`](crate::webhook::WebhookReceiver) feeds it, and a [`WaitLayer`](crate::wait::WaitLayer) registers each
/// submission with it before sending. Any number of clients may share one, each with the secrets of its daemon
/// ([`ClientBuilder::webhook_secret`](crate::ClientBuilder::webhook_secret)). Cloning is cheap, and clones are the same registry.
///
/// A lookup takes the same time however many submissions are registered. A registration takes some tens of bytes.
#[derive(Clone)]
pub struct Notifier(Arc<Registry>);

struct Registry {
    capacity: usize,
    /// `None` if the operating system had no random bytes. Then nothing can be registered.
    key: Option<TokenKey>,
    submissions: Mutex<HashMap<TokenId, Arc<SharedSubmission>>>,
    client_secrets: ClientSecrets,
    /// Submissions whose result a poll returned, and the service that wants to know if their event still comes. Bounded by that
    /// service.
    awaited: Mutex<HashMap<TokenId, Weak<dyn WaitOwner>>>,
    /// A receiver was closed, and no event has come by another one since.
    interrupted: AtomicBool,
    /// How often. A request that came before the last time shows nothing about what comes after it.
    interruptions: AtomicU64,
    counters: WebhookCounters,
}

impl Notifier {
    /// A registry for up to 1,048,576 submissions.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A registry for up to `capacity` submissions. A submission beyond that fails with [`Error::is_overloaded`] before anything is
    /// sent.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Arc::new(Registry {
            capacity,
            key: TokenKey::random().ok(),
            submissions: Mutex::default(),
            client_secrets: ClientSecrets::default(),
            awaited: Mutex::default(),
            interrupted: AtomicBool::new(false),
            interruptions: AtomicU64::new(0),
            counters: WebhookCounters::default(),
        }))
    }

    /// How many submissions are registered.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.submissions().len()
    }

    /// Counts of the requests received so far.
    #[must_use]
    pub fn stats(&self) -> WebhookStats {
        self.0.counters.snapshot()
    }

    /// Stores the secrets of a client, and returns their number for [`register`](Self::register).
    pub(crate) fn add_secrets(&self, secrets: Vec<Secret>) -> Result<NonZeroU16, Error> {
        self.0.client_secrets.add(secrets)
    }

    /// Registers `submission` under a new id. `secrets`: the number of those that its events are signed with; `None` for those of the
    /// receiver.
    pub(crate) fn register(
        &self,
        submission: &Arc<SharedSubmission>,
        secrets: Option<NonZeroU16>,
    ) -> Result<TokenId, Error> {
        if self.0.key.is_none() {
            return Err(Error::new(Kind::Service).with_source("the operating system has no random bytes"));
        }
        let mut submissions = self.submissions();
        if submissions.len() >= self.0.capacity {
            return Err(Error::new(Kind::Capacity(self.0.capacity)));
        }
        loop {
            let id = TokenId::random(secrets);
            if let Entry::Vacant(entry) = submissions.entry(id) {
                entry.insert(Arc::clone(submission));
                return Ok(id);
            }
        }
    }

    /// The callback URL of a registered submission: this URL, `/` and a token.
    pub(crate) fn callback_url(&self, receiver: &str, id: TokenId) -> Option<String> {
        self.0.key.as_ref().map(|key| key.token(&[receiver, "/"], id))
    }

    /// Removes a submission. Its token is still recognized.
    pub(crate) fn release(&self, id: TokenId) {
        // The submission is dropped after the lock is released: its drop may run a waker's code.
        let submission = self.submissions().remove(&id);
        drop(submission);
    }

    /// The submission of a token. `None` for a token that this registry has not made. `draining`: the request comes by a receiver that
    /// is about to stop.
    pub(crate) fn find(&self, token: &str, draining: bool) -> Option<Recipient> {
        let id = self.0.key.as_ref()?.read(token)?;
        let submission = self.submissions().get(&id).cloned();
        let interruptions = (!draining).then(|| self.0.interruptions.load(Relaxed));
        Some(Recipient { id, submission, registry: Arc::clone(&self.0), interruptions })
    }

    /// Notes that the event of a submission is to come yet. If it does, `owner` is notified.
    pub(crate) fn await_event(&self, id: TokenId, owner: Weak<dyn WaitOwner>) {
        self.0.awaited().insert(id, owner);
    }

    /// Returns whether the event of a submission is still to come, and forgets it.
    pub(crate) fn is_missing(&self, id: TokenId) -> bool {
        self.0.awaited().remove(&id).is_some()
    }

    /// The receiver was closed: no event will come for now, so waits poll as if there were no webhooks. The next event ends that.
    pub(crate) fn interrupt(&self) {
        self.0.interruptions.fetch_add(1, Relaxed);
        self.0.interrupted.store(true, Relaxed);
        self.wake_all();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.0.interrupted.load(Relaxed)
    }

    /// Wakes every wait, because something changed that decides how often it polls.
    pub(crate) fn wake_all(&self) {
        let submissions: Vec<_> = self.submissions().values().cloned().collect();
        for submission in submissions {
            submission.update(SubmissionState::touch);
        }
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        self.0.counters.refused(reason);
    }

    fn submissions(&self) -> MutexGuard<'_, HashMap<TokenId, Arc<SharedSubmission>>> {
        self.0.submissions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Notifier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Registry {
    fn awaited(&self) -> MutexGuard<'_, HashMap<TokenId, Weak<dyn WaitOwner>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The submission that a token of this registry belongs to, which may be over.
pub(crate) struct Recipient {
    id: TokenId,
    submission: Option<Arc<SharedSubmission>>,
    registry: Arc<Registry>,
    /// How many interruptions there were when the request came. `None` by a receiver that is about to stop.
    interruptions: Option<u64>,
}

impl Recipient {
    /// The secrets of the client that sent the submission. `None` if they are those of the receiver.
    pub(crate) fn client_secrets(&self) -> Option<Arc<[Secret]>> {
        self.registry.client_secrets.get(self.id.secrets()?)
    }

    /// Whether the submission is over, so that the body of the event is of no use.
    pub(crate) fn is_over(&self) -> bool {
        self.submission.is_none()
    }

    /// Passes an event to the submission and counts it, except for `EventOutcome::WrongJob`, which the receiver refuses and counts.
    pub(crate) fn event(&self, status: JobStatus, trust: Trust) -> EventOutcome {
        let outcome = match &self.submission {
            Some(submission) => submission.event(status, trust),
            None => EventOutcome::Late,
        };
        if outcome != EventOutcome::WrongJob {
            self.arrived();
        }
        self.registry.counters.event(outcome);
        outcome
    }

    /// A verified event came for a submission that is over.
    pub(crate) fn late_event(&self) -> EventOutcome {
        self.arrived();
        self.registry.counters.event(EventOutcome::Late);
        EventOutcome::Late
    }

    /// An event came that cannot be read, because its body is over the limit: a reason to poll.
    pub(crate) fn oversized_event(&self) {
        if let Some(submission) = &self.submission {
            submission.update(|state| state.hint(true));
        }
    }

    fn arrived(&self) {
        if self.interruptions == Some(self.registry.interruptions.load(Relaxed)) {
            self.registry.interrupted.store(false, Relaxed);
        }
        let owner = self.registry.awaited().remove(&self.id);
        if let Some(owner) = owner.and_then(|owner| owner.upgrade()) {
            owner.webhook_arrived();
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipient").field("over", &self.is_over()).finish_non_exhaustive()
    }
}
