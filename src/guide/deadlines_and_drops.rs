//! How a wait ends early, and what happens to the job.
//!
//! A job is the daemon's: it goes on when nobody waits for it. A wait ends before its job for one of three reasons.
//!
//! # A deadline passes
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::{Client, SubmitRequest};
//! use tower::ServiceExt;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//!
//! // For every wait of a client:
//! let client = Client::builder(url)
//!     .deadline(Duration::from_secs(600))
//!     .build()
//!     .await?;
//! // For one caller, if its time is shorter:
//! let jobs = client.jobs().with_deadline(Some(Duration::from_secs(30)));
//! let result = jobs.oneshot(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! At the deadline the client polls once more, so that a job that finished in time is not lost. If it has not, the wait ends with
//! [`Error::is_deadline`](crate::Error::is_deadline) and the job id. Prefer a deadline to a `Timeout` layer, whose error does not
//! know the job; where only a `Timeout` will do, take
//! [`SubmitRequest::submission`](crate::SubmitRequest::submission) before the call.
//!
//! A deadline belongs to one wait: a retry that attaches again starts a wait with a deadline of its own.
//!
//! # The future is dropped
//!
//! Dropping a wait loses nothing. The job is *abandoned* only when the last clone of its request and the last wait on it are gone, and
//! then the [`DropPolicy`](crate::DropPolicy) applies:
//!
//! | policy | an abandoned job |
//! |---|---|
//! | `Detach` (default) | goes on; attach to it by its id |
//! | `Cancel` | is cancelled |
//! | `CancelIfQueued` | is cancelled if no worker has started it |
//!
//! Set it for a client with [`ClientBuilder::on_drop`](crate::ClientBuilder::on_drop), or for one request with
//! [`SubmitRequestBuilder::on_drop`](crate::SubmitRequestBuilder::on_drop). The cancel is a request in the background, on the runtime
//! in which the last of them was dropped. Outside a runtime, or if the daemon does not support cancelling, the job goes on;
//! [`WaitStats::cancels_failed`](crate::wait::WaitStats::cancels_failed) counts it.
//!
//! A wait that ends with an error, the deadline included, holds nothing either: if no clone of the request is left, the drop policy
//! applies then.
//!
//! # The daemon is away
//!
//! One failed poll does not end a wait. A wait ends when its polls have failed for 2 min
//! ([`failure_budget`](crate::ClientBuilder::failure_budget)); a successful poll or an event resets that time. 401 and 403 end a wait
//! at once. 404 ends it too, but not in the first 5 s after the daemon accepted the job; it is then noticed at the next poll.
