use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::{Begun, Cause, Pauses};
use crate::api::Accepted;
use crate::submission::SubmissionState;
use crate::{Error, SubmitRequest};

/// Repeats a submission where that cannot run the job twice: a policy for `tower::retry` inside the wait.
///
/// What is repeated: a submission that surely did not arrive and may do so later (no connection, 425, 429, 503 with
/// `Retry-After`); if the daemon keeps idempotency keys, anything that may pass. `Retry-After` is obeyed, up to 60 s. Clones share
/// the budget, and what is known of the daemon.
#[derive(Clone)]
pub struct RetrySubmission {
    shared: Arc<Shared>,
    made: u32,
    pauses: Begun,
}

struct Shared {
    retries: u32,
    pauses: Pauses,
    budget: Option<Arc<dyn Budget + Send + Sync>>,
}

impl RetrySubmission {
    /// To set more.
    pub fn builder() -> RetrySubmissionBuilder {
        let budget: Arc<dyn Budget + Send + Sync> = Arc::new(TpsBudget::default());
        RetrySubmissionBuilder {
            retries: 4,
            backoff: (Duration::from_millis(100), Duration::from_secs(5)),
            jitter: 0.5,
            budget: Some(budget),
        }
    }
}

impl Default for RetrySubmission {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are fit, which a test shows")]
        Self::builder().build().expect("the defaults are fit")
    }
}

/// Builds a [`RetrySubmission`].
#[derive(Clone)]
#[must_use]
pub struct RetrySubmissionBuilder {
    retries: u32,
    backoff: (Duration, Duration),
    jitter: f64,
    budget: Option<Arc<dyn Budget + Send + Sync>>,
}

impl RetrySubmissionBuilder {
    /// How often a submission is repeated at most; 4 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The first pause, and the longest, between which they double; 100 ms and 5 s unless set.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// By which part of itself a pause may be longer; 0.5 unless set.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// The budget that retries are drawn from; unless set, one of its own with tower's defaults (a fifth of the submissions,
    /// and ten a second). To share one, give clones of it.
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Repeats whatever the load.
    pub fn no_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// The policy, checked.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for no retries, or a back-off that is zero, shrinks, or has a jitter that is none.
    pub fn build(self) -> Result<RetrySubmission, Error> {
        if self.retries == 0 {
            return Err(Error::invalid("retries", "must not be zero: leave the layer out instead"));
        }
        let pauses = Pauses::new(self.backoff.0, self.backoff.1, self.jitter)?;
        let shared = Shared { retries: self.retries, pauses, budget: self.budget };
        Ok(RetrySubmission { shared: Arc::new(shared), made: 0, pauses: None })
    }
}

impl<E: Cause> Policy<SubmitRequest, Accepted, E> for RetrySubmission {
    type Future = Sleep;

    fn retry(&mut self, request: &mut SubmitRequest, result: &mut Result<Accepted, E>) -> Option<Sleep> {
        let shared = &*self.shared;
        let error = match result {
            Ok(_) => {
                if let Some(budget) = &shared.budget {
                    budget.deposit();
                }
                return None;
            }
            Err(error) => error,
        };
        // With webhooks, an event may name the job: the wait gives it time, and then sends again by itself.
        let submission = request.keep_alive();
        let may_resend_lost = submission.supports_idempotency() && !submission.has_callback();
        let (transient, unsent, retry_after) =
            error.inspect(|error| (error.is_retryable(), error.is_safe_to_resubmit(), error.retry_after()));
        let safe = transient && (unsent || may_resend_lost);
        if !safe || self.made == shared.retries {
            return None;
        }
        if shared.budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
            tracing::debug!("retry budget of submissions exhausted");
            return None;
        }
        if !unsent {
            // If the next attempt is refused, that says nothing of this one.
            submission.shared().update(SubmissionState::may_have_arrived);
        }
        self.made += 1;
        Some(shared.pauses.next(&mut self.pauses, retry_after))
    }

    fn clone_request(&mut self, request: &SubmitRequest) -> Option<SubmitRequest> {
        Some(request.clone())
    }
}

impl fmt::Debug for RetrySubmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetrySubmission")
            .field("retries", &self.shared.retries)
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RetrySubmissionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetrySubmissionBuilder").field("retries", &self.retries).finish_non_exhaustive()
    }
}
