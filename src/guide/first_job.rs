//! A client, a request, a result.
//!
//! A foreman daemon queues chat requests for a model and runs them one by one. [`Client::submit`](crate::Client::submit)
//! submits one and resolves when it has finished, after seconds or after hours:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, SubmitRequest};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let client = Client::builder(url).build().await?;
//! let request = SubmitRequest::builder("echo")
//!     .system("Answer in one sentence.")
//!     .user("Why is the sky blue?")
//!     .build()?;
//! let result = client.submit(request).await?.into_success()?;
//! println!("{}", result.content().unwrap_or_default());
//! # Ok(()) }
//! ```
//!
//! The call and its result can each fail, hence the two `?` in the statement that makes `result`:
//!
//! - `submit` fails if the client could not submit the job or could not find out how it ended. See
//!   [`errors`](crate::guide::errors).
//! - [`into_success`](crate::JobResult::into_success) fails if the job ran and failed. Without it, a failed job is an ordinary
//!   [`JobResult`](crate::JobResult) with the state `failed` and an `error`.
//!
//! Build one client for each daemon, and clone it: clones share connections, the webhook listener and the counts of
//! [`Client::stats`](crate::Client::stats).
//!
//! # A token and a webhook secret
//!
//! ```no_run
//! # async fn example() -> Result<(), foreman_client::Error> {
//! let client = foreman_client::Client::builder("http://gpu-box:11435")
//!     .token("the-token-of-this-service")
//!     .webhook_secret("the secret that the daemon signs with")
//!     .build()
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! The token authenticates the client to the daemon, and the secret authenticates webhooks to the client. With the secret, a signed
//! event is the result. Without it, an event is only a reason to poll, which costs one more request for each job.
//!
//! # Artifacts
//!
//! A job may produce files in addition to its result. Their names come from the daemon, so do not join them to a path:
//! With the feature `artifact-files`, `JobResult::save_artifacts` saves them below a directory, whatever their names are.
//!
//! # Later, or in another process
//!
//! Store the job id, from [`Submission::accepted`](crate::Submission::accepted) or [`Error::job_id`](crate::Error::job_id), and
//! attach to the job with [`Client::wait`](crate::Client::wait):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, JobId};
//! # use foreman_client::SubmitRequest;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//! # let stored = client.submit(request).await?.job_id().to_string();
//!
//! let job_id: JobId = stored.parse()?;
//! let result = client.wait(&job_id).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
