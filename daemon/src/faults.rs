//! Faults on purpose: a daemon that loses answers, refuses, stalls jobs and spoils events when a test says so.
//!
//! For tests of what stands between callers and a daemon, such as a gateway: the client inside it is the real one, on real
//! sockets, and the test makes happen what in production happens at night. The test keeps a [`Faults`], gives a clone to
//! [`Builder::faults`](super::Builder::faults), and changes it at any time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_daemon::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_daemon::Daemon;
//! use foreman_daemon::faults::{Faults, Refusal, Times};
//! use foreman_client::{Client, SubmitRequest};
//!
//! let faults = Faults::new();
//! let daemon = Daemon::builder().webhook_secret("a secret").faults(faults.clone()).start().await?;
//! let client = Client::builder(daemon.url()).webhook_secret("a secret").build().await?;
//!
//! // The daemon has taken the job, and nobody is told. An event names it all the same.
//! faults.submissions().lose_answers(Times::Next(1));
//! let result = client.submit(SubmitRequest::builder("echo").user("once").build()?).await?;
//! assert_eq!(daemon.executions(&result.job_id).await, 1);
//! assert_eq!((faults.seen().lost_answers, daemon.stats().accepted), (1, 1));
//!
//! // It is down for a moment.
//! let busy = Refusal::new(503)?.retry_after(Duration::ZERO);
//! faults.submissions().refuse(busy, Times::Next(1));
//! client.submit(SubmitRequest::builder("echo").user("again").build()?).await?;
//! assert_eq!((faults.seen().refused_submissions, daemon.stats().accepted), (1, 2));
//! # daemon.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # What can go wrong
//!
//! Each line reads `faults`, whose fault it is, what goes wrong, and how often: for the [next](Times::Next) so many or
//! [until it is cleared](Times::UntilCleared). Asking for a fault again takes the place of what was left of it.
//!
//! | fault | what it tries |
//! |---|---|
//! | `submissions().`[`lose_answers`](RequestFaults::lose_answers) | the job runs once: the answer is asked for again under the same idempotency key, or an event names the job |
//! | `submissions().`[`refuse`](RequestFaults::refuse) | what surely did not arrive, such as with a 503 that has `Retry-After`, is sent again; what may have arrived, only to a daemon that is known to keep keys |
//! | `polls().`[`refuse`](RequestFaults::refuse), `polls().lose_answers` | an outage does not end a wait, unless it is longer than the failure budget |
//! | `polls().`[`not_found`](RequestFaults::not_found) | a job that is not known right after its 202 may be known in a moment |
//! | `cancels().refuse`, `cancels().lose_answers` | a job that nobody waits for and that cannot be cancelled is counted |
//! | `requests().` all of these | the same, whatever is asked |
//! | `events().`[`delay`](EventFaults::delay), [`silence`](EventFaults::silence) | polling finds the end that no event told |
//! | `events().`[`duplicate`](EventFaults::duplicate) | the first end counts, and the second changes nothing |
//! | `events().`[`reorder`](EventFaults::reorder) | an older state after a newer one changes nothing, be that the end |
//! | `events().`[`forge`](EventFaults::forge), [`missign`](EventFaults::missign) | nobody but the daemon ends a wait; what it tells after a refusal is believed |
//! | `jobs().`[`stall`](JobFaults::stall) | a deadline ends the wait and not the job, which can be waited for again, or cancelled |
//!
//! [`last_events()`](Faults::last_events) are those of [`events()`](Faults::events) that tell an end. An event is counted at each
//! attempt at it: one that the receiver refuses is sent again, by the [schedule](super::Builder::webhook_retries) that a test sets
//! to short pauses.
//!
//! # What has gone wrong
//!
//! A test that asks for a fault that does not happen shows nothing. [`Faults::seen`] says how often each has happened, and
//! [`Faults::until`] waits for it.
//!
//! # What stays right
//!
//! The daemon's own books: a job that was accepted is kept, whatever became of the answer; each event is told unless it is
//! silenced, be it late or behind another, also when the daemon is [shut down](super::Daemon::shutdown) meanwhile. If it breaks
//! down, a daemon with a [file](super::Builder::store) tells what was held after its next start, and without one everything is lost
//! as ever. Times are tokio's, so that a test may pause them. `GET /healthz` has no faults, and a daemon without `Faults` does not
//! ask for any.

mod events;
mod handle;
mod hold;
mod jobs;
mod middleware;
mod refusal;
mod requests;
mod seen;
mod spoil;
mod state;
mod times;

pub use self::events::EventFaults;
pub use self::handle::Faults;
pub(super) use self::hold::{Hold, Next};
pub use self::jobs::JobFaults;
pub(super) use self::middleware::{around, unless_lost};
pub use self::refusal::Refusal;
pub use self::requests::RequestFaults;
pub use self::seen::Seen;
pub use self::spoil::Forgery;
pub(super) use self::spoil::Spoilt;
pub use self::times::Times;
