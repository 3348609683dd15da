use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tower::retry::Policy;

use super::{Cause, RetryOptions, StartedBackoff};
use crate::submission::{SharedSubmission, SubmissionState};
use crate::{Error, JobResult, Submission, SubmitRequest};

/// A policy for `tower::retry` outside the wait, which calls again with a clone of the same request, so that the wait attaches to the
/// job.
///
/// It calls again after a transient error, and after a timeout of a layer between it and the wait. It does not call again after the
/// deadline of the wait, or after an error that a later call would meet again. No pause is longer than the deadline. It never runs the
/// job a second time, unless [`renew_failed`](ReattachBuilder::renew_failed) is set.
pub struct Reattach {
    settings: Arc<Settings>,
    retried: u32,
    renewed: u32,
    backoff: StartedBackoff,
    /// From the first error until the policy decides that there is no further call.
    reattaching: Option<Reattaching>,
}

/// Another wait on the submission may start. Until the policy is dropped or decides otherwise, its handles stay open.
pub(crate) struct Reattaching(Arc<SharedSubmission>);

#[derive(Clone)]
struct Settings {
    options: RetryOptions,
    renewals: u32,
    renew_if: Option<Arc<RenewIf>>,
    on_renew: Option<Arc<OnRenew>>,
}

type RenewIf = dyn Fn(&JobResult) -> bool + Send + Sync;
type OnRenew = dyn Fn(&Submission, &Submission) + Send + Sync;

impl Reattach {
    /// Starts a policy with options of your own.
    pub fn builder() -> ReattachBuilder {
        ReattachBuilder {
            options: RetryOptions {
                retries: 8,
                first: Duration::from_millis(250),
                longest: Duration::from_secs(10),
                jitter: 0.5,
            },
            renewals: None,
            on_renew: None,
        }
    }
}

impl Default for Reattach {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are valid, which a test shows")]
        Self::builder().build().expect("valid defaults")
    }
}

/// Builds a [`Reattach`].
#[derive(Clone)]
#[must_use]
pub struct ReattachBuilder {
    options: RetryOptions,
    renewals: Option<(u32, Arc<RenewIf>)>,
    on_renew: Option<Arc<OnRenew>>,
}

impl ReattachBuilder {
    /// The largest number of calls after the first one; 8 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// The first and the longest pause; 250 ms and 10 s unless set. Each pause is twice the one before.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.options.first, self.options.longest) = (first, longest);
        self
    }

    /// The fraction by which a pause may be longer; 0.5 unless set.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.options.jitter = fraction;
        self
    }

    /// Runs a failed job again, up to `times` times, if `renew_if` returns `true` for it. This is the only option that runs a conversation
    /// a second time. Each run is a new submission with an idempotency key of its own. Stacks that run clones of one request share it.
    pub fn renew_failed(mut self, times: u32, renew_if: impl Fn(&JobResult) -> bool + Send + Sync + 'static) -> Self {
        self.renewals = Some((times, Arc::new(renew_if)));
        self
    }

    /// Called when a failed job is about to run again, with the submission that failed and the new one: to store its key, or to follow its
    /// states. The handles of the failed submission report nothing of the new one;
    /// [`Progress`](crate::wait::Progress) and [`JobErrorsLayer`](crate::wait::JobErrorsLayer) follow it.
    pub fn on_renew(mut self, on_renew: impl Fn(&Submission, &Submission) + Send + Sync + 'static) -> Self {
        self.on_renew = Some(Arc::new(on_renew));
        self
    }

    /// Builds the policy.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for [`on_renew`](ReattachBuilder::on_renew) without
    /// [`renew_failed`](ReattachBuilder::renew_failed), zero retries without renewals, zero renewals, a longest pause that is zero or
    /// shorter than the first, or a jitter that is not a fraction.
    pub fn build(self) -> Result<Reattach, Error> {
        let (renewals, renew_if) = match self.renewals {
            Some((0, _)) => return Err(Error::invalid("renew_failed", "must not be zero times: leave it out instead")),
            Some((times, renew_if)) => (times, Some(renew_if)),
            None => {
                self.options.check_retries()?;
                (0, None)
            }
        };
        if self.on_renew.is_some() && renew_if.is_none() {
            return Err(Error::invalid("on_renew", "has no effect without renew_failed"));
        }
        self.options.check_backoff()?;
        let settings = Settings { options: self.options, renewals, renew_if, on_renew: self.on_renew };
        Ok(Reattach { settings: Arc::new(settings), retried: 0, renewed: 0, backoff: None, reattaching: None })
    }
}

impl<E: Cause> Policy<SubmitRequest, JobResult, E> for Reattach {
    type Future = Sleep;

    fn retry(&mut self, request: &mut SubmitRequest, result: &mut Result<JobResult, E>) -> Option<Sleep> {
        let settings = &*self.settings;
        // It ends with this call, unless the policy calls again.
        let reattaching = self.reattaching.take();
        let mut expires = None;
        let retry_after = match result {
            Ok(result) => {
                let renew_if = settings.renew_if.as_deref()?;
                if self.renewed == settings.renewals || result.is_success() || !renew_if(result) {
                    return None;
                }
                None
            }
            Err(error) => {
                let (again, retry_after, of_wait) = error.inspect(|error| {
                    (error.is_retryable() && !error.is_deadline(), error.retry_after(), error.expires())
                });
                if !again || self.retried == settings.options.retries {
                    return None;
                }
                expires = of_wait;
                retry_after
            }
        };
        let mut pause = settings.options.pause(&mut self.backoff, retry_after);
        let submission = request.keep_alive().shared();
        let expires = expires.or_else(|| submission.expires());
        if let Some(expires) = expires.filter(|expires| *expires <= pause.deadline()) {
            if expires <= Instant::now() {
                return None;
            }
            // The job may finish until the deadline, so that a last look is worth its poll. A refused submission has no job.
            if submission.read(SubmissionState::is_fresh) || result.is_ok() {
                return None;
            }
            pause = tokio::time::sleep_until(expires);
        }
        match result {
            Ok(result) => {
                tracing::debug!(job_id = %result.job_id(), "running a failed job again");
                self.renewed += 1;
                let renewed = request.renew_within_deadline();
                if let Some(on_renew) = &settings.on_renew {
                    on_renew(&request.submission(), &renewed.submission());
                }
                *request = renewed;
            }
            Err(_) => {
                self.retried += 1;
                self.reattaching = reattaching.or_else(|| Some(Reattaching::new(submission)));
            }
        }
        Some(pause)
    }

    fn clone_request(&mut self, request: &SubmitRequest) -> Option<SubmitRequest> {
        Some(request.clone())
    }
}

impl Reattaching {
    pub(crate) fn new(submission: &Arc<SharedSubmission>) -> Self {
        submission.update(SubmissionState::reattach);
        Self(Arc::clone(submission))
    }
}

impl Drop for Reattaching {
    fn drop(&mut self) {
        // The handles of the submission would wait for ever.
        self.0.update(SubmissionState::give_up_reattach);
    }
}

/// `tower::retry` clones the policy for each call.
impl Clone for Reattach {
    fn clone(&self) -> Self {
        let Self { settings, retried, renewed, backoff, reattaching: _ } = self;
        Self {
            settings: Arc::clone(settings),
            retried: *retried,
            renewed: *renewed,
            backoff: backoff.clone(),
            reattaching: None,
        }
    }
}

impl fmt::Debug for Reattach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reattach")
            .field("options", &self.settings.options)
            .field("renewals", &self.settings.renewals)
            .field("retried", &self.retried)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReattachBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReattachBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
