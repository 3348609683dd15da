//! Waiting is a layer: [`WaitLayer`] turns a service that submits into one that resolves to the finished job.
//!
//! A daemon that accepts a job with `202` leaves the rest to its client: where the result comes from, what a lost response means,
//! when to give up. [`Wait<S, P>`](Wait) decides that over two services: `S` submits, and `P` polls. It is a
//! `Service<SubmitRequest, Response = JobResult>`, and its future is [`JobWait`]. [`Attach`] is a `Service<JobId, Response =
//! JobResult>` for a job that was submitted before. [`Client::jobs`](crate::Client::jobs) returns one that is built already.
//!
//! ```text
//!  HTTP client ─► Api<T> ───────► WaitLayer ───────────────► the caller's stack
//!  any tower      Service<Call>   Wait<S, P>:                Timeout, Retry,
//!  Service of     for each        Service<SubmitRequest,     RateLimit, Buffer,
//!  http::Request  endpoint          Response = JobResult,    ConcurrencyLimit,
//!                                   Future = JobWait>        LoadShed, axum, tonic
//! ```
//!
//! # Promises
//!
//! - **It ends.** Polls are the authority, and events make the wait fast: webhooks, or the event stream of the daemon. The submission is
//!   registered for them before it is sent, and polled slowly while they come. [`shutdown`](Wait::shutdown) ends all waits of a service.
//! - **It submits once.** Clones of one [`SubmitRequest`](crate::SubmitRequest) are one submission. What may have arrived is sent again
//!   only to a daemon that supports idempotency keys. At another one, an event has time to name the job
//!   ([`lost_response_window`](WaitLayerBuilder::lost_response_window)).
//! - **The job id is never lost.** Every error of a wait has it once a response or an event named it, and
//!   [`SubmitRequest::submission`](crate::SubmitRequest::submission) is a handle that returns it as soon as it is known.
//! - **It can be dropped.** Waits on clones of the request go on. When the last of them is gone, the callback token is freed and the
//!   [`DropPolicy`](crate::DropPolicy) applies.
//! - **A transient fault does not end it.** All polls may fail for [`failure_budget`](WaitLayerBuilder::failure_budget). 401 and
//!   403 end it at once, and 404 after a short grace.
//! - **Completion beats the deadline.** At the [`deadline`](WaitLayerBuilder::deadline) it polls once more. The deadline is the
//!   submission's: it counts from the first call, and a retry does not start it anew.
//!
//! [`guide::stacks`](crate::guide::stacks) has the table of which layer goes on which side, a stack to copy, and what not to do.

mod attach;
mod cancel_on_drop;
mod cancels;
mod future;
mod health;
mod job_errors;
mod layer;
mod live;
mod machine;
mod progress;
mod reach;
mod service;
mod shared;
mod slow_down;
mod stats;
mod step;
mod webhook_endpoint;

pub use self::attach::{Attach, AttachedWait};
pub use self::future::JobWait;
pub use self::job_errors::{JobErrors, JobErrorsFuture, JobErrorsLayer};
pub use self::layer::{WaitLayer, WaitLayerBuilder};
pub use self::progress::{Progress, Update};
pub use self::service::Wait;
pub use self::stats::WaitStats;
pub use self::webhook_endpoint::WebhookEndpoint;
