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
//! # Store the job id
//!
//! A service that may restart stores the id before it waits for the result. After
//! the restart it calls [`Client::wait`](crate::Client::wait) with it:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, Error, JobId, JobResult, SubmitRequest};
//!
//! async fn run(
//!     client: &Client,
//!     request: SubmitRequest,
//!     store: impl AsyncFnOnce(JobId),
//! ) -> Result<JobResult, Error> {
//!     let submission = request.submission();
//!     let accepted = async {
//!         // An error is the one that `submit` returns.
//!         if let Ok(job_id) = submission.accepted().await {
//!             store(job_id).await;
//!         }
//!     };
//!     let (result, ()) = tokio::join!(client.submit(request), accepted);
//!     result
//! }
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//! # let mut stored = None;
//! # let result = run(&client, request, async |id| stored = Some(id)).await?;
//! # assert_eq!(stored.as_ref(), Some(result.job_id()));
//! # Ok(()) }
//! ```
//!
//! # Show the place in the queue
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, Error, JobState, SubmitRequest, Submission};
//! use futures_util::TryStreamExt;
//!
//! async fn show(submission: Submission) -> Result<(), Error> {
//!     let mut states = submission.states();
//!     while let Some(change) = states.try_next().await? {
//!         match (change.state, change.position) {
//!             (JobState::Queued, Some(1)) => println!("next in the queue"),
//!             (JobState::Queued, Some(n)) => println!("{n} in the queue"),
//!             (state, _) => println!("{state}"),
//!         }
//!     }
//!     Ok(())
//! }
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//!
//! // The handle keeps nothing alive, so it may live in another task.
//! let shown = tokio::spawn(show(request.submission()));
//! let result = client.submit(request).await?;
//! shown.await??;
//! # assert!(result.is_success());
//! # Ok(()) }
//! ```
//!
//! # Answer what is known now
//!
//! Another handler can answer "how far is it?" from a handle, without a request to
//! the daemon:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use foreman_client::{SubmitRequest, Submission};
//!
//! fn answer(calls: &HashMap<u64, Submission>, call: u64) -> String {
//!     let Some(submission) = calls.get(&call) else {
//!         return "unknown".to_owned();
//!     };
//!     match (submission.job_id(), submission.last_state()) {
//!         (None, _) => "not accepted yet".to_owned(),
//!         (Some(id), None) => format!("job {id}, state not known yet"),
//!         (Some(id), Some(state)) => format!("job {id}, {state}"),
//!     }
//! }
//! # fn main() -> Result<(), foreman_client::Error> {
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let calls = HashMap::from([(1, request.submission())]);
//! assert_eq!(answer(&calls, 1), "not accepted yet");
//! assert_eq!(answer(&calls, 2), "unknown");
//! # Ok(()) }
//! ```
//!
//! # How soon a state comes
//!
//! While webhooks work, or the event stream is open, a state comes when the daemon reports it. Otherwise it comes with a poll,
//! and a state that lasts less than the interval between polls may not be seen at all.
//!
//! The `queued` state has the position at that moment. A later position comes with a poll only. Polls are rare while webhooks
//! work, while the event stream is open, and while the daemon holds a long poll. For a live position call
//! [`Client::status`](crate::Client::status) on a timer.
