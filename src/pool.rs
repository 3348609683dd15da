//! [`Pool`]: one service over the clients of many daemons.
//!
//! # Why a pool?
//!
//! Each daemon has a queue of its own. With several of them, something has to decide which one gets a job, and a job id means nothing at
//! another daemon. A balancer that knows only requests gets both wrong: it counts a request as done when the job is accepted, moves a model
//! to a machine on which it has to be loaded, and sends the retry of a submission to a daemon that does not know the job.
//!
//! A pool is a `Service<SubmitRequest, Response = JobResult>` over any number of [`Client`](crate::Client)s. It knows the jobs and their
//! models:
//!
//! - **Load.** A job goes to the cheaper of two daemons that are drawn at random, fast ones more often. What counts is how long the jobs of
//!   this pool that wait at the daemon take there, by the times of the jobs before.
//! - **Models.** Only daemons that list the model are drawn. The lists are refreshed in the background, and a daemon whose list is not known
//!   may have any model. If no daemon lists it, all are drawn: the refusal of a daemon is more accurate than a list.
//!   [`Pool::probed`] waits for the first lists.
//! - **Loaded models.** A daemon that ran the model last is preferred for as long as its queue takes less than a load elsewhere, by the times
//!   of the loads before.
//! - **Failures.** A daemon that fails gets no jobs, and is probed with backoff, from 250 ms to 30 s. After that it gets one job at a time,
//!   until it has accepted one. If the outcome of a job does not come within 5 s, which doubles each time up to 30 s, another job is sent:
//!   the caller of the first one may have stopped polling it. A daemon that responds with `Retry-After` gets none for that time. While no
//!   daemon is available, the pool is not ready: callers wait, or a `LoadShed` above it refuses them.
//! - **One daemon for each submission.** A submission that surely did not arrive moves on to the next daemon at once. One that may have
//!   arrived stays: retries, hedges and timeouts above the pool attach to its job, also after the daemon was removed from the pool.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::retry::Reattach;
//! use foreman_client::wait::JobErrorsLayer;
//! use foreman_client::{Client, Pool, SubmitRequest};
//! use tower::{ServiceBuilder, ServiceExt};
//! # let daemons = [foreman_daemon::Daemon::start().await?, foreman_daemon::Daemon::start().await?];
//! # let [gpu_1, gpu_2] = [daemons[0].url(), daemons[1].url()];
//!
//! let pool = Pool::from_clients([
//!     Client::builder(gpu_1).build().await?,
//!     Client::builder(gpu_2).build().await?,
//! ])?;
//! let jobs = ServiceBuilder::new()
//!     .layer(JobErrorsLayer::new())
//!     .load_shed()
//!     .retry(Reattach::default())
//!     .service(pool);
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = jobs.oneshot(request).await?;
//! println!("{} ran it", result.daemon().unwrap_or("?"));
//! # Ok(()) }
//! ```
//!
//! # One webhook listener
//!
//! Unless set otherwise, each client binds a webhook listener of its own. All clients of a pool can share one
//! [`WebhookEndpoint`](crate::wait::WebhookEndpoint), also those that a discovery builds: it is one socket and one registry, and each
//! client has the secret of its daemon. [`ClientBuilder::webhooks`](crate::ClientBuilder::webhooks) sets it, and
//! [the guide](crate::guide::fleets) has an example.
//!
//! # Attaching by id
//!
//! A [`JobHandle`](crate::JobHandle) names the daemon and the job. Store it as a string, and attach after a restart:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, JobHandle, Pool, SubmitRequest};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let pool = Pool::from_clients([Client::builder(daemon.url()).build().await?])?;
//!
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let submission = request.submission();
//! let wait = pool.submit(request.clone());
//! # let wait = tokio::spawn(wait);
//! # submission.accepted().await?;
//! let stored: String = submission.job_handle().ok_or("no job so far")?.to_string();
//! // After a restart:
//! let handle: JobHandle = stored.parse()?;
//! let result = pool.wait(&handle).await?;
//! // With nothing but the id, every daemon is asked.
//! let found = pool.find(handle.job_id()).await?;
//! assert_eq!(found, handle);
//! # wait.await??;
//! # assert!(result.is_success());
//! # Ok(()) }
//! ```
//!
//! # Daemons that come and go
//!
//! [`PoolBuilder::discover`] takes anything that is a [`tower::discover::Discover`] of clients. With the feature `dns`, `pool::Dns` is the
//! discovery of the addresses or the services of a name, such as of a headless service of Kubernetes. A daemon that is removed gets no new jobs.
//! Its waits go on, and for ten minutes after the last of them a retry still attaches to it.
//!
//! # What not to do
//!
//! - Do not give two daemons one name, such as a DNS name with two addresses or a load balancer: their ids are different, and a poll may reach
//!   the other one. The pool needs a client for each daemon.
//! - Do not put a pool into a pool, or clients of one daemon into two pools of one process: neither knows the load of the other. The
//!   first does not compile, since a pool is made of clients: join the lists of clients instead.
//!
//!   ```compile_fail
//!   # fn nested(pool: foreman_client::Pool) -> Result<(), foreman_client::Error> {
//!   foreman_client::Pool::from_clients([pool])?;
//!   # Ok(()) }
//!   ```
//! - Do not call [`Pool::submit`] without a timeout if all daemons may be away: it waits until one is available.

mod builder;
mod checks;
mod choice;
mod clients;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
mod dns;
mod driver;
mod find;
mod future;
mod health;
mod load;
mod member;
mod members;
mod models;
mod service;
mod shared;
mod stats;

pub use self::builder::PoolBuilder;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use self::dns::{Dns, DnsDiscovery};
pub use self::future::PoolWait;
pub use self::service::Pool;
pub use self::stats::{DaemonStats, PoolStats};
