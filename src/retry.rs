//! Policies for tower's `retry`, one for each side of a wait: [`RetrySubmission`] inside, [`Reattach`] outside.
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
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = jobs.oneshot(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! # An error type of your own
//!
//! A policy inspects the error of the service below it, which must be
//! [`Error`] or [`BoxError`](crate::BoxError): see [`Cause`]. A type of your own
//! goes above the policy. If a service below the policy has one already, box it.
//! The policy finds this crate's error among the sources of the box:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::retry::Reattach;
//! use foreman_client::{BoxError, Client, Error, SubmitRequest};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! /// The error of a service below the policy. Its source is the cause.
//! #[derive(Debug)]
//! struct ChatFailed(Error);
//! # impl std::fmt::Display for ChatFailed {
//! #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
//! #         f.write_str("chat failed")
//! #     }
//! # }
//! # impl std::error::Error for ChatFailed {
//! #     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
//! #         Some(&self.0)
//! #     }
//! # }
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//!
//! let jobs = ServiceBuilder::new()
//!     .retry(Reattach::default())
//!     .map_err(BoxError::from) // without it, no `Service`
//!     .map_err(ChatFailed)
//!     .service(client.jobs());
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = jobs.oneshot(request).await?;
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
pub(crate) use self::reattach::Reattaching;
pub use self::reattach::{Reattach, ReattachBuilder};
pub use self::submission::{RetrySubmission, RetrySubmissionBuilder, SubmissionPause};

use std::time::Duration;

use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, InvalidBackoff, MakeBackoff};
use tower::util::rng::HasherRng;

use crate::Error;
use crate::error::MAX_RETRY_AFTER;

/// The options that both policies have.
#[derive(Debug, Clone)]
struct RetryOptions {
    retries: u32,
    first: Duration,
    longest: Duration,
    jitter: f64,
}

/// The fraction by which a pause for `Retry-After` may be longer, if the jitter allows it.
const RETRY_AFTER_JITTER: f64 = 0.1;

impl RetryOptions {
    /// # Errors
    ///
    /// For a longest pause that is zero or shorter than the first, and for a jitter that is not a fraction.
    fn check_backoff(&self) -> Result<(), Error> {
        self.maker().map(|_| ()).map_err(|error| Error::invalid("backoff", error.to_string()))
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

    /// The next pause of a request: `Retry-After` up to its limit, else the exponential backoff.
    ///
    /// Both vary from request to request, so that requests that fail together do not come back together. `Retry-After: 0` means
    /// the first pause.
    fn pause(&self, started: &mut StartedBackoff, retry_after: Option<Duration>) -> tokio::time::Sleep {
        let Some(asked) = retry_after else {
            if started.is_none() {
                *started = self.maker().ok().map(|mut maker| Box::new(maker.make_backoff()));
            }
            return match started {
                Some(backoff) => backoff.next_backoff(),
                None => tokio::time::sleep(self.first),
            };
        };
        let least = asked.min(MAX_RETRY_AFTER).max(self.first);
        let jitter = self.jitter.min(RETRY_AFTER_JITTER) * fastrand::f64();
        tokio::time::sleep(least.saturating_add(least.mul_f64(jitter)))
    }

    /// With a random number generator of its own: one that is cloned would give every request the same pauses.
    fn maker(&self) -> Result<ExponentialBackoffMaker, InvalidBackoff> {
        ExponentialBackoffMaker::new(self.first, self.longest, self.jitter, HasherRng::default())
    }
}

/// The backoff of one request. It starts with the first retry, because most requests need none.
type StartedBackoff = Option<Box<ExponentialBackoff>>;
