//! Policies for [`tower::retry`], on either side of a wait: [`RetrySubmission`] inside, [`Reattach`] outside.
//!
//! A plain retry that repeats whatever failed can run a job twice: the answer to the submission may have been lost on its way
//! back. These two know when repeating is safe:
//!
//! - [`RetrySubmission`], *inside* the wait, around the submission. It repeats what surely did not arrive (no connection, 429,
//!   503 with `Retry-After`); anything that may pass only if the daemon keeps idempotency keys, as it said with an earlier
//!   answer. Where webhooks are on, a lost answer is left to the wait, which first gives an event the time to name the job.
//! - [`Reattach`], *outside*, around the whole job: above a time-out, say. It calls again with a clone of the same request,
//!   and the wait attaches to the job that it has become.
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
//!     .retry(Reattach::default())                   // outside: attaches again after …
//!     .timeout(Duration::from_secs(3600))           // … an hour in which nothing came
//!     .layer(WaitLayer::new(api.clone()))
//!     .retry(RetrySubmission::default())            // inside: repeats what did not arrive
//!     .service(api);
//! let result = jobs.oneshot(SubmitRequest::builder("echo").user("hi").build()?).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! What not to do: a policy of your own inside the wait that repeats on any error, or one outside that calls
//! [`renew`](crate::SubmitRequest::renew) on an error that is not the job's own. Both run jobs twice.

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

/// The pauses between the attempts of a policy.
#[derive(Debug, Clone)]
struct Pauses {
    maker: ExponentialBackoffMaker,
    max_retry_after: Duration,
}

/// The pauses of one request; begun with the first, since most need none.
type Begun = Option<Box<ExponentialBackoff>>;

impl Pauses {
    /// # Errors
    ///
    /// When the longest is zero or shorter than the first.
    fn new(first: Duration, longest: Duration, jitter: f64) -> Result<Self, Error> {
        let maker = ExponentialBackoffMaker::new(first, longest, jitter, HasherRng::default())
            .map_err(|error| Error::invalid("backoff", error.to_string()))?;
        Ok(Self { maker, max_retry_after: Duration::from_secs(60) })
    }

    /// The next pause: what the daemon asked for, within bounds, else the back-off's.
    fn next(&self, begun: &mut Begun, retry_after: Option<Duration>) -> tokio::time::Sleep {
        match retry_after {
            Some(asked) => tokio::time::sleep(asked.min(self.max_retry_after)),
            None => begun.get_or_insert_with(|| Box::new(self.maker.clone().make_backoff())).next_backoff(),
        }
    }
}
