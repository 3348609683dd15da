//! Policies for [`tower::retry`], one for each side of a wait: [`RetrySubmission`] inside, [`Reattach`] outside.
//!
//! # Why not a plain retry?
//!
//! A retry that repeats after any error can run a job twice: the daemon may have accepted the submission, and only the response
//! was lost. These two policies repeat only where that cannot happen:
//!
//! - [`RetrySubmission`] goes *inside* the wait, around the submission. It repeats a submission that surely did not arrive: no
//!   connection, 429, or 503 with `Retry-After`. It repeats a submission that may have arrived only if the daemon supports
//!   idempotency keys and webhooks are off. With webhooks, the wait itself gives an event time to name the job first.
//! - [`Reattach`] goes *outside*, around the whole job, above a timeout for example. It calls again with a clone of the same request,
//!   so that the wait attaches to the job.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::api::{Api, Transport};
//! use foreman_client::retry::{Reattach, RetrySubmission};
//! use foreman_client::{SubmitRequest, WaitLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let base = daemon.url().parse()?;
//! # let transport = Transport::new(&base)?;
//! let api = Api::new(base, transport);
//! let jobs = ServiceBuilder::new()
//!     .retry(Reattach::default()) // outside: attaches again
//!     .timeout(Duration::from_secs(3600)) // after an hour
//!     .layer(WaitLayer::new(api.clone()))
//!     .retry(RetrySubmission::default()) // inside: resends
//!     .service(api);
//! let result = jobs.oneshot(SubmitRequest::builder("echo").user("hi").build()?).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! # What not to do
//!
//! Do not use a policy of your own inside the wait that repeats after any error, nor one outside that calls
//! [`renew`](crate::SubmitRequest::renew) after an error that is not the failure of the job. Both run jobs twice.

mod cause;
mod reattach;
mod submission;

pub use self::cause::Cause;
pub use self::reattach::{Reattach, ReattachBuilder};
pub use self::submission::{RetrySubmission, RetrySubmissionBuilder};

use std::time::Duration;

use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;

use crate::Error;

/// The options that both policies have.
#[derive(Debug, Clone)]
struct RetryOptions {
    retries: u32,
    first: Duration,
    longest: Duration,
    jitter: f64,
}

impl RetryOptions {
    /// # Errors
    ///
    /// For a longest pause that is zero or shorter than the first, and for a jitter that is not a fraction.
    fn backoff(&self) -> Result<RetryBackoff, Error> {
        let maker = ExponentialBackoffMaker::new(self.first, self.longest, self.jitter, HasherRng::default())
            .map_err(|error| Error::invalid("backoff", error.to_string()))?;
        Ok(RetryBackoff { maker, max_retry_after: Duration::from_secs(60) })
    }

    /// # Errors
    ///
    /// For zero retries.
    fn check_retries(&self) -> Result<(), Error> {
        match self.retries {
            0 => Err(Error::invalid("retries", "must not be zero: leave the layer out instead")),
            _ => Ok(()),
        }
    }
}

/// The pauses between the attempts of a policy.
#[derive(Debug, Clone)]
struct RetryBackoff {
    maker: ExponentialBackoffMaker,
    max_retry_after: Duration,
}

/// The backoff of one request. It starts with the first retry, because most requests need none.
type StartedBackoff = Option<Box<ExponentialBackoff>>;

impl RetryBackoff {
    /// The next pause: `Retry-After` up to its limit, else the exponential backoff.
    fn next(&self, started: &mut StartedBackoff, retry_after: Option<Duration>) -> tokio::time::Sleep {
        match retry_after {
            Some(pause) => tokio::time::sleep(pause.min(self.max_retry_after)),
            None => started.get_or_insert_with(|| Box::new(self.maker.clone().make_backoff())).next_backoff(),
        }
    }
}
