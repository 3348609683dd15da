//! The job id as soon as it is known, and each state.
//!
//! [`SubmitRequest::submission`](crate::SubmitRequest::submission) returns a handle. It observes the submission while another task, or
//! the same one, waits for the result:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, SubmitRequest};
//! use futures_util::TryStreamExt;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//!
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let submission = request.submission();
//! let (result, stored, states) = tokio::join!(
//!     client.submit(request),
//!     // The id, as soon as the daemon has returned it: store it here.
//!     submission.accepted(),
//!     // Each state, until the terminal one.
//!     submission.states().map_ok(|change| change.state).try_collect::<Vec<_>>(),
//! );
//! assert_eq!(stored?, *result?.job_id());
//! assert!(states?.last().is_some_and(|state| state.is_terminal()));
//! # Ok(()) }
//! ```
//!
//! - [`accepted`](crate::Submission::accepted) resolves to the job id.
//! - [`states`](crate::Submission::states) is a stream of [`StateChange`](crate::StateChange)s: the state, the daemon's time of it, and
//!   the source that reported it first. Each state comes once and none turns back, although webhooks may arrive twice and out of
//!   order. While the job is queued, a new [`position`](crate::StateChange::position) in the queue comes as an item with the same state.
//! - [`job_id`](crate::Submission::job_id) and [`last_state`](crate::Submission::last_state) return what is known now.
//!
//! A handle keeps nothing alive. When the last wait is gone before the job has ended, `accepted` returns its error, and `states` ends
//! with it.
//!
//! While webhooks work, a state comes when the daemon reports it. Without webhooks it comes with a poll, and a state that lasts less
//! than the interval between polls may not be seen at all.
//!
//! A position comes with a poll. While webhooks work, or while the daemon holds a long poll, polls are rare, and so are positions.
