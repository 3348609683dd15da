use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::{Cause, RetryOptions, StartedBackoff};
use crate::api::Accepted;
use crate::error::MAX_RETRY_AFTER;
use crate::submission::{KeepAlive, SubmissionState};
use crate::{Error, SubmitRequest};

/// A policy for `tower::retry` inside the wait, which repeats a submission where that cannot run the job twice.
///
/// It repeats a submission that surely did not arrive and may do so later: no connection, 425, 429, 503 with `Retry-After`. It repeats
/// a submission that may have arrived only if the wait around it is without webhooks and has seen the daemon support idempotency keys.
/// A submission that surely did not arrive is not repeated here while a [`Pool`](crate::Pool) has another daemon for it.
/// It obeys `Retry-After` up to 60 s, and waits up to a tenth longer. It does not pause beyond the deadline of the wait
/// ([`last_attempt`](RetrySubmissionBuilder::last_attempt)). Clones share the budget.
#[derive(Clone)]
pub struct RetrySubmission {
    shared: Arc<Shared>,
    retried: u32,
    backoff: StartedBackoff,
}

struct Shared {
    options: RetryOptions,
    budget: Option<Arc<dyn Budget + Send + Sync>>,
    last_attempt: Option<Duration>,
}

impl RetrySubmission {
    /// Starts a policy with options of your own.
    pub fn builder() -> RetrySubmissionBuilder {
        let budget: Arc<dyn Budget + Send + Sync> = Arc::new(TpsBudget::default());
        RetrySubmissionBuilder {
            options: RetryOptions {
                retries: 4,
                first: Duration::from_millis(100),
                longest: Duration::from_secs(5),
                jitter: 0.5,
            },
            budget: Some(budget),
            last_attempt: None,
        }
    }
}

impl Default for RetrySubmission {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are valid, which a test shows")]
        Self::builder().build().expect("valid defaults")
    }
}

/// Builds a [`RetrySubmission`].
#[derive(Clone)]
#[must_use]
pub struct RetrySubmissionBuilder {
    options: RetryOptions,
    budget: Option<Arc<dyn Budget + Send + Sync>>,
    last_attempt: Option<Duration>,
}

impl RetrySubmissionBuilder {
    /// The largest number of retries of one submission; 4 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// The first and the longest pause; 100 ms and 5 s unless set. Each pause is twice the one before.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.options.first, self.options.longest) = (first, longest);
        self
    }

    /// The fraction by which a pause may be longer; 0.5 unless set.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.options.jitter = fraction;
        self
    }

    /// The retry budget. Unless set, the policy has one with tower's defaults: a fifth of the submissions, and ten a second. To share a
    /// budget among policies, pass clones of it.
    pub fn budget(mut self, budget: Arc<dyn Budget + Send + Sync>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Removes the budget: retries do not depend on the load.
    pub fn no_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// Where a pause would pass the deadline of the wait, makes one more attempt that long before the deadline, also if the daemon has
    /// asked for a longer pause; unless set, the submission fails at once. For a caller that has nothing else to do until the deadline.
    pub fn last_attempt(mut self, before_deadline: Duration) -> Self {
        self.last_attempt = Some(before_deadline);
        self
    }

    /// Builds the policy.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for zero retries, a longest pause that is zero or shorter than the first, or a jitter
    /// that is not a fraction.
    pub fn build(self) -> Result<RetrySubmission, Error> {
        self.options.check_retries()?;
        self.options.check_backoff()?;
        let shared = Shared { options: self.options, budget: self.budget, last_attempt: self.last_attempt };
        Ok(RetrySubmission { shared: Arc::new(shared), retried: 0, backoff: None })
    }
}

impl<E: Cause> Policy<SubmitRequest, Accepted, E> for RetrySubmission {
    type Future = SubmissionPause;

    fn retry(&mut self, request: &mut SubmitRequest, result: &mut Result<Accepted, E>) -> Option<SubmissionPause> {
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
        if submission.shared().read(|state| state.job_id().is_some()) {
            // An event or another wait has named the job meanwhile.
            return None;
        }
        let error = error.inspect(Error::clone);
        if request.moves_on() && error.is_safe_to_resubmit() {
            return None;
        }
        let safe = error.is_retryable() && (error.is_safe_to_resubmit() || may_resend_lost);
        if !safe || self.retried == shared.options.retries {
            return None;
        }
        let paused_until = submission.paused_until().map(|until| until.saturating_duration_since(Instant::now()));
        let retry_after = error.retry_after().max(paused_until);
        let mut pause = shared.options.pause(&mut self.backoff, retry_after);
        let now = Instant::now();
        let mut latest = now + MAX_RETRY_AFTER;
        if let Some(left) = request.time_left()
            && left <= pause.deadline().saturating_duration_since(now)
        {
            // A pause that the daemon asks for meanwhile does not make this one longer.
            latest = now + left.checked_sub(shared.last_attempt?).filter(|rest| !rest.is_zero())?;
            pause = sleep_until(latest);
        }
        if shared.budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
            let idempotency_key = submission.shared().key().map(tracing::field::display);
            tracing::debug!(idempotency_key, "retry budget of submissions exhausted");
            return None;
        }
        submission.refused(&error);
        submission.shared().update(|state| state.pause_after(error));
        self.retried += 1;
        Some(SubmissionPause { pause, latest, submission: request.keep_alive().clone() })
    }

    /// Called before each attempt.
    fn clone_request(&mut self, request: &SubmitRequest) -> Option<SubmitRequest> {
        request.keep_alive().shared().update(SubmissionState::resume);
        Some(request.clone())
    }
}

/// The pause before [`RetrySubmission`] sends again. It is longer if the daemon asks another submission of the client for a longer one
/// meanwhile, up to 60 s from its start, and up to a tenth more.
///
/// # Cancel safety
///
/// Dropping it before its end means that the policy does not send again.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct SubmissionPause {
    #[pin]
    pause: Sleep,
    /// It is not made longer after that: each refused submission makes the pauses of all others longer.
    latest: Instant,
    submission: KeepAlive,
}

impl SubmissionPause {
    /// When it ends, as far as is known.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.pause.deadline()
    }
}

impl Future for SubmissionPause {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            ready!(this.pause.as_mut().poll(cx));
            let now = Instant::now();
            let until = this.submission.paused_until().map(|until| until.min(*this.latest));
            let Some(until) = until.filter(|until| *until > now) else { return Poll::Ready(()) };
            let rest = until.saturating_duration_since(now);
            this.pause.as_mut().reset(until + rest.mul_f64(fastrand::f64() / 10.0));
        }
    }
}

impl fmt::Debug for RetrySubmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetrySubmission")
            .field("options", &self.shared.options)
            .field("retried", &self.retried)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RetrySubmissionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetrySubmissionBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
