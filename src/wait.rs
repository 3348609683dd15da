//! Waiting is a layer: [`WaitLayer`] turns a service that submits into one that resolves to the finished job.
//!
//! ```text
//!  http client ─► Api<T> ─────────────► WaitLayer ───────────────► the caller's stack
//!  any tower      Service<R> for every   Wait<S, P>:                Timeout, Retry, RateLimit,
//!  Service of     request the daemon     Service<SubmitRequest,     ConcurrencyLimit, LoadShed,
//!  http::Request  knows                    Response = JobResult,    Buffer, Trace, axum, tonic
//!                                          Future = JobWait<S, P>>
//!                                        Service<JobId, …>: attach
//! ```
//!
//! [`Wait<S, P>`](Wait) is a `Service<SubmitRequest, Response = JobResult>` over `S`, which submits, and `P`, which asks for the
//! state. It is a `Service<JobId, Response = JobResult>` too, which attaches to a job that runs already. Its future is
//! [`JobWait`]. [`Client::jobs`](crate::Client::jobs) gives one that is put together already.
//!
//! # What a wait promises
//!
//! - **It ends.** A poll is the authority and a webhook makes it fast: the job is registered for its events before it is
//!   submitted, looked at once after, and polled, slowly, even while webhooks work.
//! - **It never runs a job twice by itself.** Clones of one [`SubmitRequest`](crate::SubmitRequest) are one submission. What may
//!   have arrived is sent again only to a daemon that keeps idempotency keys, and where webhooks are on only after an event had
//!   the time to name the job ([`lost_response_window`](WaitLayerBuilder::lost_response_window)).
//! - **The id is never lost.** Every error after the submission has it, and
//!   [`SubmitRequest::submission`](crate::SubmitRequest::submission) is a handle that tells it as soon as it is known.
//! - **It can be dropped.** Another wait on a clone of the request goes on; when the last is gone, the slot is freed and the
//!   [`DropPolicy`](crate::DropPolicy) decides over the job.
//! - **One fault does not end it.** Polls may fail for [`failure_budget`](WaitLayerBuilder::failure_budget), one after the other;
//!   401 and 403 end it at once, and 404 does but for a short grace after the submission.
//! - **Completion beats the deadline.** At the [`deadline`](WaitLayerBuilder::deadline) it looks once more.
//!
//! # Which layer on which side
//!
//! | layer | inside (around the submission) | outside (around the whole job) |
//! |---|---|---|
//! | `Timeout` | bounds one HTTP exchange | bounds the job; the job goes on unless the drop policy cancels it |
//! | `Retry` | repeats a submission that is known not to have arrived ([`RetrySubmission`](crate::retry::RetrySubmission)) | re-attaches to the job of the same request ([`Reattach`](crate::retry::Reattach)); runs it again only when asked |
//! | `ConcurrencyLimit` | requests in flight | jobs in flight: the permit lives as long as the future |
//! | `RateLimit`, `LoadShed` | as usual | as usual |
//!
//! The error of a `Timeout` outside knows nothing of the job; a deadline of the wait
//! ([`deadline`](WaitLayerBuilder::deadline), [`Wait::with_deadline`]) ends with one that knows its id. Take
//! [`SubmitRequest::submission`](crate::SubmitRequest::submission) before the call where only a `Timeout` will do.
//!
//! `ConcurrencyLimit` is the one that surprises. Inside, its permits are back after a few milliseconds, when the daemon has
//! answered `202`: it bounds the burst, and thousands of jobs may wait. Outside, a permit is held for minutes: it bounds the jobs,
//! and the next caller queues behind it, unless a `LoadShed` above turns it away. `Hedge` goes outside: both calls attach to the
//! one job.
//!
//! # A stack for a gateway
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::retry::Reattach;
//! use foreman_client::{Client, Error, SubmitRequest};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let client = Client::builder(url).deadline(Duration::from_secs(600)).build().await?;
//! let jobs = ServiceBuilder::new()
//!     .map_err(Error::from_boxed)                      // out of the boxes that the layers below put errors in
//!     .load_shed()                                     // turns callers away instead of letting them queue …
//!     .concurrency_limit(256)                          // … once so many jobs are in flight
//!     .rate_limit(50, Duration::from_secs(1))          // and takes so many new ones a second
//!     .retry(Reattach::default())                      // after a time-out or a fault, attaches to the same job
//!     .timeout(Duration::from_secs(900))               // should the deadline of the wait itself not end it
//!     .service(client.jobs());                         // the wait, with its retry of the submission inside
//!
//! let result = jobs.oneshot(SubmitRequest::builder("echo").user("hi").build()?).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! `RateLimit` is not `Clone`: to share such a stack among tasks, put a `Buffer` on top of it. Buffer and the layers above it
//! box errors; [`Error::from_boxed`](crate::Error::from_boxed) finds ours in any box.
//!
//! A stack without a limit and without a deadline works: the wait ends when the job does. What it risks is that everything that
//! arrives waits: memory for each ([under 800 bytes](crate#what-it-costs)), and callers that have given up long ago.
//!
//! # What not to do
//!
//! - A retry that repeats on any error *inside* the wait, or hides a lost answer behind a later refusal, or that calls [`renew`](crate::SubmitRequest::renew) on an error that
//!   is not the job's own: both run jobs twice.
//! - A new [`SubmitRequest`](crate::SubmitRequest) for each attempt: it is a new submission. Build it once and clone it.
//! - A `Timeout` *inside* that is shorter than the daemon takes to answer `202`: each one is a lost answer.
//! - `ConcurrencyLimit` outside without `LoadShed` or a deadline: callers queue without bound.
//! - A rate or a concurrency of zero: tower panics at the one where the layer is built, and waits for ever at the other. What this
//!   crate builds refuses a zero with an error that names it.

mod cancel_on_drop;
mod future;
mod layer;
mod machine;
mod service;
mod shared;
mod stats;
mod step;
mod webhook_endpoint;

pub use self::future::JobWait;
pub use self::layer::{WaitLayer, WaitLayerBuilder};
pub use self::service::Wait;
pub use self::stats::WaitStats;
pub use self::webhook_endpoint::WebhookEndpoint;
