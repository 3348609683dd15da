//! How a wait ends early, and what happens to the job.
//!
//! A job is the daemon's: it goes on when nobody waits for it. A wait ends before its job for one of four reasons.
//!
//! # A deadline passes
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::{Client, SubmitRequest};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//!
//! // For every wait of a client:
//! let client = Client::builder(url)
//!     .deadline(Duration::from_secs(600))
//!     .build()
//!     .await?;
//! // For one request, if the time of its caller is shorter:
//! let request = request.with_deadline(Duration::from_secs(30));
//! let result = client.submit(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! At the deadline the client polls once more, so that a job that finished in time is not lost. If it has not, the wait ends with
//! [`Error::is_deadline`](crate::Error::is_deadline) and the job id.
//!
//! A deadline belongs to the submission. It counts from the first call of the client, over all retries and clones. A caller that
//! asked for 30 s gets an answer after 30 s, or after 31 s from a daemon that does not respond: the last poll takes a tenth of
//! the deadline at most, and never more than 1 s ([`final_poll_timeout`](crate::ClientBuilder::final_poll_timeout)). No pause of
//! a retry is longer. A deadline that passes before the daemon has accepted anything does not hide why: the error is the last
//! refusal. With a deadline that has passed already, nothing is submitted. To wait longer, attach to the job by its id: that is a
//! wait with a deadline of its own.
//!
//! The time that a request queues in layers above the client does not count: a `ConcurrencyLimit`, a `RateLimit` or a `Buffer`
//! hold it before the client is called. Shed load there, or put a `Timeout` above them.
//!
//! Prefer a deadline to a `Timeout` layer. Where only a `Timeout` will do, put a
//! [`JobErrorsLayer`](crate::wait::JobErrorsLayer) above it, so that its error has the job.
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
//! in which the last of them was dropped, and at most 16 run at a time. Outside a runtime, or if the daemon does not support cancelling,
//! the job goes on; [`WaitStats::cancels_failed`](crate::wait::WaitStats::cancels_failed) counts it. A
//! transient failure is tried up to six times, and `Retry-After` pauses all cancels of the client for at most 60 s. If the last
//! of them is dropped before the response to the submission, or after it was lost, the submission is sent again to a daemon that supports
//! idempotency keys, which returns the id to cancel.
//!
//! A wait that ends with an error, the deadline included, holds nothing either: if no clone of the request is left, the drop policy
//! applies then. [`Error::drop_policy`](crate::Error::drop_policy) says which it is.
//!
//! # The program ends
//!
//! [`Client::shutdown`](crate::Client::shutdown) is the one call of a program that ends. New calls fail, the waits have some time to end,
//! and the rest end with [`Error::is_shutting_down`](crate::Error::is_shutting_down) and their job ids. It waits for cancels, and returns
//! the ids of the jobs that go on:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = foreman_client::Client::builder(daemon.url()).build().await?;
//!
//! for job_id in client.shutdown(Duration::from_secs(25)).await {
//!     println!("job {job_id} goes on");
//! }
//! assert!(client.is_shutting_down());
//! # Ok(()) }
//! ```
//!
//! A server whose router has the webhook route closes its socket after that: the last events arrive there.
//!
//! # The daemon is away
//!
//! One failed poll does not end a wait. A wait ends when its polls have failed for 2 min
//! ([`failure_budget`](crate::ClientBuilder::failure_budget)); a successful poll or an event resets that time. While webhooks work, the
//! first of these polls may come 30 s after the daemon went away, or within about a second if other requests show that it does not
//! respond. 401 and 403 end a wait at once. 404 ends it too, but not in the first 5 s after the daemon accepted the job; it is then
//! noticed at the next poll.
