use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::{RefusalReason, WebhookCounters, WebhookStats};
use crate::error::Kind;
use crate::submission::{CallbackToken, EventOutcome, SharedSubmission, Trust};
use crate::{Error, JobStatus};

/// How many submissions may be registered at once unless set otherwise.
const CAPACITY: usize = 1 << 20;

/// The webhook registry: maps the token of each callback URL to the submission that waits for its events.
///
/// A [`WebhookReceiver`](crate::webhook::WebhookReceiver) feeds it, and a [`WaitLayer`](crate::wait::WaitLayer) registers each
/// submission with it before sending. Any number of clients may share one. Cloning is cheap, and clones are the same registry.
///
/// A lookup takes the same time however many submissions are registered. A registration takes some tens of bytes.
#[derive(Clone)]
pub struct Notifier(Arc<Registry>);

struct Registry {
    capacity: usize,
    submissions: Mutex<HashMap<CallbackToken, Arc<SharedSubmission>>>,
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
        Self(Arc::new(Registry { capacity, submissions: Mutex::default(), counters: WebhookCounters::default() }))
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

    /// Makes a token for `submission`.
    pub(crate) fn register(&self, submission: &Arc<SharedSubmission>) -> Result<CallbackToken, Error> {
        let token = CallbackToken::random().map_err(|error| Error::new(Kind::Service).with_source(error))?;
        let mut submissions = self.submissions();
        if submissions.len() >= self.0.capacity {
            return Err(Error::new(Kind::Capacity(self.0.capacity)));
        }
        submissions.insert(token, Arc::clone(submission));
        Ok(token)
    }

    /// Removes a token.
    pub(crate) fn release(&self, token: CallbackToken) {
        // The submission is dropped after the lock is released: its drop may run a waker's code.
        let submission = self.submissions().remove(&token);
        drop(submission);
    }

    pub(crate) fn find(&self, token: CallbackToken) -> Option<Registered> {
        let submission = Arc::clone(self.submissions().get(&token)?);
        Some(Registered { submission, registry: Arc::clone(&self.0) })
    }

    /// Counts a refused request.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        self.0.counters.refused(reason);
    }

    fn submissions(&self) -> MutexGuard<'_, HashMap<CallbackToken, Arc<SharedSubmission>>> {
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

/// A registered submission, found by its token.
pub(crate) struct Registered {
    submission: Arc<SharedSubmission>,
    registry: Arc<Registry>,
}

impl Registered {
    /// Passes an event to the submission and counts it, except for `EventOutcome::WrongJob`, which the receiver refuses and counts.
    pub(crate) fn event(&self, status: JobStatus, trust: Trust) -> EventOutcome {
        let outcome = self.submission.event(status, trust);
        self.registry.counters.event(outcome);
        outcome
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").finish_non_exhaustive()
    }
}
