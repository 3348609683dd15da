//! An embedded daemon, with faults on request.
//!
//! The package `foreman-daemon` is a library, so that a test can run a real daemon on a real socket in the same process. It listens on a
//! free port of the loopback interface and ends when it is dropped:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, SubmitRequest};
//! use foreman_daemon::Daemon;
//!
//! let daemon = Daemon::start().await?; // its backend echoes the request
//! let client = Client::builder(daemon.url()).build().await?;
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = client.submit(request).await?;
//! assert_eq!(daemon.executions(result.job_id()).await, 1);
//! # Ok(()) }
//! ```
//!
//! Its feature `faults` adds faults on request: lost responses, refused requests, 404 after the `202`, webhooks that are late, missing,
//! duplicated, reordered, forged or signed with a wrong secret, and jobs that stall. `examples/gateway_faults.rs` tests a whole gateway
//! with them.
//!
//! # Without sockets
//!
//! Everything here is generic over tower services, so that a test double needs no socket and follows tokio's paused time. At the bottom
//! of the stack it is an HTTP service, given to [`ClientBuilder::build_with`](crate::ClientBuilder::build_with) or
//! [`Api::new`](crate::Api::new). Above that it is a service of [`SubmitRequest`](crate::SubmitRequest) and one of
//! [`GetJob`](crate::api::GetJob):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::api::{Accepted, GetJob, Polled};
//! use foreman_client::{Error, JobId, JobState, JobStatus};
//! use foreman_client::{SubmitRequest, WaitLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let submit = service_fn(|_: SubmitRequest| async {
//!     Ok::<_, Error>(Accepted::new(JobId::new("7")?))
//! });
//! let poll = service_fn(|get: GetJob| async move {
//!     let status = JobStatus::new(get.job_id().clone(), JobState::Done);
//!     Ok::<_, Error>(Polled::new(status))
//! });
//! let jobs = ServiceBuilder::new().layer(WaitLayer::new(poll)).service(submit);
//! let request = SubmitRequest::builder("m").user("hi").build()?;
//! assert_eq!(jobs.oneshot(request).await?.job_id().as_str(), "7");
//! # Ok(()) }
//! ```
