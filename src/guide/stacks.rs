//! Which layer goes on which side of the wait, and a stack to copy.
//!
//! ```text
//!  HTTP client ─► Api<T> ──────► inside: ─► WaitLayer ──────────────► outside:
//!  any tower      Service<Call>  Retry, …   Wait<S, P>:               Timeout, …
//!  Service of     for each                  Service<SubmitRequest,
//!  http::Request  endpoint                    Response = JobResult>
//! ```
//!
//! A layer *inside* the wait sees one HTTP request that takes milliseconds. A layer *outside* sees a whole job that takes minutes.
//! That makes the same layer two different things:
//!
//! | layer | inside, around the submission | outside, around the whole job |
//! |---|---|---|
//! | `Timeout` | limits one submission request | limits the wait, with a `JobErrorsLayer` above it; the job goes on unless the drop policy cancels it |
//! | `Retry` | resends a submission that did not arrive: [`RetrySubmission`](crate::retry::RetrySubmission) | attaches to the job of the same request: [`Reattach`](crate::retry::Reattach) |
//! | `ConcurrencyLimit` | limits submission requests in flight | limits jobs in flight: a permit is held as long as the wait |
//! | `RateLimit` (not `Clone`) | limits submission requests per time; with a `Buffer` above it | limits new jobs per time |
//! | `LoadShed` | refuses if the layers below are not ready | the same |
//! | `Hedge` (not `Clone`) | do not use | both calls attach to one job |
//! | `Buffer` | makes a service `Clone`, as the wait requires | makes a stack `Clone`, for a handler |
//!
//! A layer for HTTP (tracing, compression, a proxy) goes below [`Api`](crate::Api): see
//! [`ClientBuilder::build_with`](crate::ClientBuilder::build_with).
//!
//! # A stack for a gateway
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::retry::Reattach;
//! use foreman_client::wait::JobErrorsLayer;
//! use foreman_client::{Client, SubmitRequest};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let client = Client::builder(url)
//!     // Limits the submission, over all retries.
//!     .deadline(Duration::from_secs(600))
//!     .build()
//!     .await?;
//! let jobs = ServiceBuilder::new()
//!     // One error type, which has the job, whatever layer made the error.
//!     .layer(JobErrorsLayer::new())
//!     // Refuses callers above the limits below, instead of queueing them.
//!     .load_shed()
//!     .concurrency_limit(256)
//!     .rate_limit(50, Duration::from_secs(1))
//!     // After a transient error, attaches to the job of the same request.
//!     .retry(Reattach::default())
//!     // The wait, with a retry of the submission inside.
//!     .service(client.jobs());
//!
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = jobs.oneshot(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! A layer that boxes errors is no obstacle: [`JobErrorsLayer`](crate::wait::JobErrorsLayer) finds this crate's error in any box, and puts
//! the job on the errors of other layers. Without it, the error of a `Timeout` or `LoadShed` does not say whether a job runs.
//!
//! `Reattach` calls again after a transient error, and not after the deadline, which counts from the first call. A `Timeout` below
//! `Reattach` is for one call, and `Reattach` does call again after it, until the deadline.
//!
//! # Sharing a stack
//!
//! Without `RateLimit`, the stack above is `Clone`, and clones share its limits. `RateLimit` is not `Clone`; then put a `Buffer` above
//! the whole stack. [`BoxCloneSyncService`](tower::util::BoxCloneSyncService) gives it a type that can be written down, for a field or
//! the state of a router:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::wait::JobErrorsLayer;
//! use foreman_client::{Client, Error, JobResult, SubmitRequest};
//! use tower::util::BoxCloneSyncService;
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let client = Client::builder(daemon.url()).build().await?;
//!
//! #[derive(Clone)]
//! struct AppState {
//!     jobs: BoxCloneSyncService<SubmitRequest, JobResult, Error>,
//! }
//!
//! let jobs = ServiceBuilder::new()
//!     .layer(JobErrorsLayer::new())
//!     .buffer(64)
//!     .load_shed()
//!     .concurrency_limit(256)
//!     .rate_limit(50, Duration::from_secs(1))
//!     .service(client.jobs());
//! let state = AppState { jobs: BoxCloneSyncService::new(jobs) };
//!
//! // In a handler:
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = state.jobs.clone().oneshot(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! # A rate limit inside the wait
//!
//! Each wait clones the service inside, so that service must be `Clone`. tower's
//! `RateLimit`, `Hedge`, `SpawnReady`, `Balance` and `BoxService` are not. A `Buffer`
//! above the service makes it `Clone`; all clones share the limit:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use std::time::Duration;
//!
//! use foreman_client::api::{Api, BaseUrl, Transport};
//! use foreman_client::retry::RetrySubmission;
//! use foreman_client::{SubmitRequest, WaitLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let base: BaseUrl = url.parse()?;
//! let api = Api::new(base.clone(), Transport::new(&base)?);
//! let jobs = ServiceBuilder::new()
//!     .layer(WaitLayer::new(api.clone()))
//!     .retry(RetrySubmission::default())
//!     .buffer(64) // without it, no `Service`
//!     .rate_limit(10, Duration::from_secs(1))
//!     .service(api);
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = jobs.oneshot(request).await?;
//! # assert!(result.content().is_some());
//! # Ok(()) }
//! ```
//!
//! # If a stack does not compile
//!
//! For `jobs.oneshot(request)` the compiler reports only that bounds on
//! `Service<_>` are not satisfied: it looks for a method before it knows the type
//! of the request. Name that type, and the compiler names the bound: call
//! `ServiceExt::<SubmitRequest>::oneshot(jobs, request)`, or pass the stack to
//! `BoxCloneSyncService::new`. The usual reasons are:
//!
//! | the compiler says | do |
//! |---|---|
//! | `RateLimit<…>: Clone` is not satisfied | put a `Buffer` above it |
//! | a retry policy cannot inspect the error type | map the error below the policy: [`Cause`](crate::retry::Cause) |
//! | `MyError: std::error::Error` is not satisfied | implement it for the error of the service inside |
//! | expected `foreman_client::Error`, found `Box<dyn Error + Send + Sync>` | put a `JobErrorsLayer` on top |
//!
//! # Layers for HTTP
//!
//! A layer below the client sees each HTTP request: submissions, polls and cancels.
//! [`build_with`](crate::ClientBuilder::build_with) takes any HTTP service, for
//! example the default transport with tower-http's tracing:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::api::{BaseUrl, Transport};
//! use foreman_client::{Client, SubmitRequest};
//! use tower::ServiceBuilder;
//! use tower_http::trace::TraceLayer;
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let base: BaseUrl = url.parse()?;
//! let http = ServiceBuilder::new()
//!     .layer(TraceLayer::new_for_http())
//!     .service(Transport::new(&base)?);
//! let client = Client::builder(url).build_with(http).await?;
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = client.submit(request).await?;
//! # assert!(result.is_success());
//! # Ok(()) }
//! ```
//!
//! # By hand
//!
//! [`Client::jobs`](crate::Client::jobs) is this stack, in one expression:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::api::{Api, BaseUrl, Transport};
//! use foreman_client::retry::RetrySubmission;
//! use foreman_client::{SubmitRequest, WaitLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let url = daemon.url();
//!
//! let base: BaseUrl = url.parse()?;
//! let api = Api::new(base.clone(), Transport::new(&base)?);
//! let jobs = ServiceBuilder::new()
//!     .layer(WaitLayer::new(api.clone())) // polls by `api`
//!     .retry(RetrySubmission::default())
//!     .service(api); // submits by `api`
//! # let request = SubmitRequest::builder("echo").user("hi").build()?;
//! # jobs.oneshot(request).await?;
//! # Ok(()) }
//! ```
//!
//! # What not to do
//!
//! - Do not retry *inside* the wait after any error, or after an error that hides a lost response. Do not call
//!   [`renew`](crate::SubmitRequest::renew) after an error that is not the failure of the job. Both run jobs twice.
//! - Do not build a new [`SubmitRequest`](crate::SubmitRequest) for each attempt: it is a new submission. Build it once and clone it.
//! - Do not put a `Timeout` *inside* that is shorter than the daemon takes to return `202`: each timeout is a lost response.
//! - Do not put a `ConcurrencyLimit` *outside* without `LoadShed` or a `Timeout` above it: callers queue without limit. A
//!   deadline begins when the client is called, and so after the queue.
//! - Do not set tower's `rate_limit` to zero, which panics, or its `concurrency_limit`, which then waits for ever. This crate refuses a
//!   zero in its own options with an error that names the option.
