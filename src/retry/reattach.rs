use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Sleep;
use tower::retry::Policy;

use super::{Begun, Cause, Pauses};
use crate::{Error, JobResult, SubmitRequest};

/// Calls again with a clone of the same request, so that the wait attaches to the job it has become: a policy for
/// `tower::retry` outside the wait.
///
/// It calls again after an error that may pass and after a time-out of a layer between it and the wait. It does not after the
/// deadline of the wait itself, nor when the daemon or the caller is at fault. It never runs the job again, unless it is told
/// to by [`renew_failed`](ReattachBuilder::renew_failed).
#[derive(Clone)]
pub struct Reattach {
    settings: Arc<Settings>,
    made: u32,
    renewed: u32,
    pauses: Begun,
}

#[derive(Clone)]
struct Settings {
    retries: u32,
    pauses: Pauses,
    renewals: u32,
    worth: Option<Arc<Worth>>,
}

type Worth = dyn Fn(&JobResult) -> bool + Send + Sync;

impl Reattach {
    /// To set more.
    pub fn builder() -> ReattachBuilder {
        ReattachBuilder {
            retries: 8,
            backoff: (Duration::from_millis(250), Duration::from_secs(10)),
            jitter: 0.5,
            renewals: None,
        }
    }
}

impl Default for Reattach {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the defaults are fit, which a test shows")]
        Self::builder().build().expect("the defaults are fit")
    }
}

/// Builds a [`Reattach`].
#[derive(Clone)]
#[must_use]
pub struct ReattachBuilder {
    retries: u32,
    backoff: (Duration, Duration),
    jitter: f64,
    renewals: Option<(u32, Arc<Worth>)>,
}

impl ReattachBuilder {
    /// How often it attaches again at most; 8 unless set.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The first pause, and the longest, between which they double; 250 ms and 10 s unless set.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// By which part of itself a pause may be longer; 0.5 unless set.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// Runs a job that failed again, up to `times` times, if `worth` says that its error is worth it: the one thing here that
    /// runs a conversation a second time. Each run is a new submission with a key of its own.
    pub fn renew_failed(mut self, times: u32, worth: impl Fn(&JobResult) -> bool + Send + Sync + 'static) -> Self {
        self.renewals = Some((times, Arc::new(worth)));
        self
    }

    /// The policy, checked.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the option, for no retries and no renewals, or a back-off that is zero, shrinks, or has a
    /// jitter that is none.
    pub fn build(self) -> Result<Reattach, Error> {
        let (renewals, worth) = match self.renewals {
            Some((0, _)) => return Err(Error::invalid("renew_failed", "must not be zero times: leave it out instead")),
            Some((times, worth)) => (times, Some(worth)),
            None => (0, None),
        };
        if self.retries == 0 && renewals == 0 {
            return Err(Error::invalid("retries", "must not be zero: leave the layer out instead"));
        }
        let pauses = Pauses::new(self.backoff.0, self.backoff.1, self.jitter)?;
        let settings = Settings { retries: self.retries, pauses, renewals, worth };
        Ok(Reattach { settings: Arc::new(settings), made: 0, renewed: 0, pauses: None })
    }
}

impl<E: Cause> Policy<SubmitRequest, JobResult, E> for Reattach {
    type Future = Sleep;

    fn retry(&mut self, request: &mut SubmitRequest, result: &mut Result<JobResult, E>) -> Option<Sleep> {
        let settings = &*self.settings;
        let retry_after = match result {
            Ok(result) => {
                let worth = settings.worth.as_deref()?;
                if self.renewed == settings.renewals || result.state != crate::JobState::Failed || !worth(result) {
                    return None;
                }
                tracing::debug!(job_id = %result.job_id, "a failed job is run again");
                self.renewed += 1;
                *request = request.renew();
                None
            }
            Err(error) => {
                let (again, retry_after) =
                    error.inspect(|error| (error.is_retryable() && !error.is_deadline(), error.retry_after()));
                if !again || self.made == settings.retries {
                    return None;
                }
                self.made += 1;
                retry_after
            }
        };
        Some(settings.pauses.next(&mut self.pauses, retry_after))
    }

    fn clone_request(&mut self, request: &SubmitRequest) -> Option<SubmitRequest> {
        Some(request.clone())
    }
}

impl fmt::Debug for Reattach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reattach")
            .field("retries", &self.settings.retries)
            .field("renewals", &self.settings.renewals)
            .field("made", &self.made)
            .field("renewed", &self.renewed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReattachBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReattachBuilder").field("retries", &self.retries).finish_non_exhaustive()
    }
}
