//! Fault injection: a daemon that loses responses, rejects requests, stalls jobs and tampers with events when a test asks for it.
//!
//! It tests programs that call a daemon, such as a gateway. Client and daemon are real and talk over real sockets, and the test
//! triggers the failures that production has at night. A test creates a [`Faults`], passes a clone to
//! [`Builder::faults`](super::Builder::faults), and sets faults at any time:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_daemon::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::{Client, SubmitRequest};
//! use foreman_daemon::Daemon;
//! use foreman_daemon::faults::{Faults, InjectedResponse, Times};
//!
//! let secret = "a secret";
//! let faults = Faults::new();
//! let builder = Daemon::builder().webhook_secret(secret);
//! let daemon = builder.faults(faults.clone()).start().await?;
//! let client =
//!     Client::builder(daemon.url()).webhook_secret(secret).build().await?;
//!
//! // The daemon accepts the job, and the 202 is lost. An event names the job.
//! faults.submissions().lose_responses(Times::Next(1));
//! let request = SubmitRequest::builder("echo").user("once").build()?;
//! let result = client.submit(request).await?;
//! assert_eq!(daemon.executions(result.job_id()).await, 1);
//! assert_eq!(faults.seen().lost_responses, 1);
//! assert_eq!(daemon.stats().accepted, 1);
//!
//! // The daemon is overloaded for a moment. The client retries.
//! let busy = InjectedResponse::new(503)?.retry_after(Duration::ZERO);
//! faults.submissions().reject(busy, Times::Next(1));
//! let request = SubmitRequest::builder("echo").user("again").build()?;
//! client.submit(request).await?;
//! assert_eq!(faults.seen().rejected_submissions, 1);
//! assert_eq!(daemon.stats().accepted, 2);
//! # daemon.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # Faults
//!
//! A call names `faults`, the kind of request, event or job, the fault, and how often it occurs: the [next](Times::Next) so many
//! times, or [until it is cleared](Times::UntilCleared). Setting a fault again replaces it.
//!
//! | fault | what it tests |
//! |---|---|
//! | `submissions().`[`lose_responses`](RequestFaults::lose_responses) | the job runs once: the client retries with the same idempotency key, or an event names the job |
//! | `submissions().`[`reject`](RequestFaults::reject) | a submission that surely did not arrive, such as after a 503 with `Retry-After`, is retried; one that may have arrived is retried only if the daemon is known to store idempotency keys |
//! | `polls().`[`reject`](RequestFaults::reject), `polls().lose_responses` | an outage does not end a wait, unless it lasts longer than the failure budget |
//! | `polls().`[`not_found`](RequestFaults::not_found) | a job that is unknown right after its 202 may be known a moment later |
//! | `cancels().reject`, `cancels().lose_responses` | a job that was dropped and cannot be cancelled is counted |
//! | `requests().` all of these | the same for every request |
//! | `events().`[`delay`](EventFaults::delay), [`silence`](EventFaults::silence) | polling finds an end that no event has reported |
//! | `events().`[`duplicate`](EventFaults::duplicate) | the first terminal event counts, the second changes nothing |
//! | `events().`[`reorder`](EventFaults::reorder) | an older state after a newer one, terminal or not, changes nothing |
//! | `events().`[`forge`](EventFaults::forge), [`sign_wrongly`](EventFaults::sign_wrongly) | only the daemon ends a wait; its event after a rejected forgery is accepted |
//! | `jobs().`[`stall`](JobFaults::stall) | a deadline ends the wait and not the job, which the client can wait for again, or cancel |
//!
//! [`last_events()`](Faults::last_events) are the terminal ones among [`events()`](Faults::events). Each attempt at an event counts
//! as one event: an event that the receiver rejects is retried by the daemon's
//! [schedule](super::Builder::webhook_retries), for which tests set short pauses.
//!
//! # Counters
//!
//! A test whose fault does not occur shows nothing. [`Faults::seen`] returns how often each fault has occurred, and
//! [`Faults::until`] waits for it.
//!
//! # Guarantees
//!
//! - The store stays right. A job that was accepted exists, even if its 202 was lost.
//! - Every event is sent, unless it is silenced. Events that are held back are sent when their faults are cleared and when the
//!   daemon [shuts down](super::Daemon::shutdown). After a crash, a daemon with a [file](super::Builder::store) sends a delayed
//!   event again; an event that was [reordered](EventFaults::reorder) may be lost.
//! - Times are those of tokio, so that a test may pause them.
//! - `GET /healthz` has no faults.
//!
//! The faults are tower layers around the daemon's API, its delivery of webhooks and its backend. A daemon without `Faults` runs
//! without them.

mod event_gate;
mod event_layer;
mod events;
mod handle;
mod injected_response;
mod job_layer;
mod jobs;
mod reordered;
mod request_layer;
mod requests;
mod seen;
mod state;
mod tamper;
mod times;

pub use self::events::EventFaults;
pub use self::handle::Faults;
pub use self::injected_response::InjectedResponse;
pub use self::jobs::JobFaults;
pub use self::requests::RequestFaults;
pub use self::seen::Seen;
pub use self::tamper::Forgery;
pub use self::times::Times;
