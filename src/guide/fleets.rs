//! Several daemons behind one stack, and several replicas of a gateway.
//!
//! # Which to choose
//!
//! | | choose it if | costs | when a box dies |
//! |---|---|---|---|
//! | one daemon | one box has enough GPUs | | its jobs go on when it returns; until then, polls fail up to the failure budget |
//! | one daemon with several backends (`foreman serve --backend NAME:ollama=URL`, repeated) | the boxes run model servers only, and one machine can have the queue | an open port of each model server to that machine | its jobs run on other backends that have the model; when the daemon's machine dies, as in the first row |
//! | several daemons with one queue (`foreman serve --store postgres://…`) | the queue must outlive every box, or any daemon must answer for any job | a PostgreSQL server, and its time for each submission | another daemon runs its jobs after the lease (30 s), as the next attempt; clients that have the addresses of all, or one URL for all (a load balancer), go on at once |
//! | a [`Pool`](crate::Pool) of daemons | several boxes, each with a queue of its own | a list of models from each daemon every 30 s; under 2 µs a job | new jobs go to other daemons at once. Its jobs go on when it returns; their waits end with `is_daemon_gone` after the failure budget (2 min) and up to 30 s, and `renew()` runs them elsewhere |
//!
//! # A pool of daemons
//!
//! A [`Pool`](crate::Pool) is one service over a client of each daemon. It knows
//! which daemons have the model and how long the jobs take that wait there, leaves
//! failing daemons alone, and sends each call to the daemon that may have its
//! submission. The module [`pool`](crate::pool) describes it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, Pool, SubmitRequest};
//! # let daemons = [foreman_daemon::Daemon::start().await?, foreman_daemon::Daemon::start().await?];
//! # let [gpu_1, gpu_2] = [daemons[0].url(), daemons[1].url()];
//!
//! let pool = Pool::from_clients([
//!     Client::builder(gpu_1).build().await?,
//!     Client::builder(gpu_2).build().await?,
//! ])?;
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let result = match pool.submit(request.clone()).await {
//!     // Its job may still run there. This runs it at another daemon too.
//!     Err(error) if error.is_daemon_gone() => pool.submit(request.renew()).await?,
//!     result => result?,
//! };
//! # assert!(result.is_success());
//! # Ok(()) }
//! ```
//!
//! # One webhook listener for the pool
//!
//! Each client binds a webhook listener of its own unless set otherwise. A pool
//! needs only one: its clients share a
//! [`WebhookEndpoint`](crate::wait::WebhookEndpoint), and each has the secret of
//! its daemon. An event that another daemon has signed is refused, so that no
//! daemon can end the wait of another one's job. It works in the closure of a
//! discovery too:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::wait::WebhookEndpoint;
//! use foreman_client::Client;
//!
//! let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
//! let connect = move |url: String| {
//!     let webhooks = webhooks.clone();
//!     async move {
//!         let secret = secret_of(&url);
//!         let client = Client::builder(url).webhooks(webhooks);
//!         client.webhook_secret(secret).build().await
//!     }
//! };
//! # fn secret_of(_: &str) -> &'static str { "a secret" }
//! // With the feature `dns`: Dns::addresses("gpu.example", 11435).discover(connect)
//! let client = connect("http://127.0.0.1:11435".to_owned()).await?;
//! # let _: Client = client;
//! # Ok(()) }
//! ```
//!
//! Where the process has an HTTP server already, mount a
//! [receiver](crate::webhook) there, and give each client its notifier.
//!
//! # A submission belongs to one daemon
//!
//! A job id and an idempotency key mean something at one daemon only, and to one
//! token. So a submission belongs to the daemon that may have it:
//!
//! - A request that was never sent, or that was surely refused, may go to any
//!   daemon. Two clients behind `tower::balance`, or a fallback from one to the
//!   other after a refused connection, submit it once.
//! - A request that a daemon has accepted, or may have, stays there. A wait of
//!   another daemon ends with
//!   [`Error::is_other_daemon`](crate::Error::is_other_daemon) before it sends
//!   anything. [`Error::daemon`](crate::Error::daemon) is the URL of the daemon
//!   that may have the job.
//! - [`renew`](crate::SubmitRequest::renew) makes a new submission, which may go
//!   anywhere. It runs the conversation a second time.
//!
//! [`Submission::daemon`](crate::Submission::daemon),
//! [`JobResult::daemon`](crate::JobResult::daemon) and
//! [`Error::daemon`](crate::Error::daemon) say which daemon it was. Store that URL
//! beside the job id: attaching by the id alone works only at that daemon.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, SubmitRequest};
//! # use foreman_daemon::{Daemon, Echo};
//! # let slow = Echo::new().delay(std::time::Duration::from_millis(200));
//! # let daemons = [Daemon::builder().backend(slow).start().await?, Daemon::start().await?];
//! # let [one, other] = [daemons[0].url(), daemons[1].url()];
//!
//! let one = Client::builder(one).build().await?;
//! let other = Client::builder(other).build().await?;
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! let submission = request.submission();
//! let (result, error) = tokio::join!(one.submit(request.clone()), async {
//!     submission.accepted().await?;
//!     other.submit(request).await
//! });
//! let error = error.unwrap_err();
//! assert!(error.is_other_daemon());
//! assert_eq!(error.daemon(), result?.daemon());
//! # Ok(()) }
//! ```
//!
//! Under `Reattach` above `tower::balance`, a retry may reach another daemon than
//! the first call, and then ends with that error. A [`Pool`](crate::Pool) sends it to
//! the daemon that has the job.
//!
//! # Several daemons with one queue
//!
//! Each of them accepts jobs for the models of all.
//! [`Client::boxes`](crate::Client::boxes) lists them, and
//! [`JobStatus::box_name`](crate::JobStatus::box_name) is the one that runs a job.
//! Before work on a machine, a program with the admin token drains its daemon by
//! [`Client::drain_box`](crate::Client::drain_box), waits until it runs no jobs, and
//! stops it.
//!
//! Give a client the addresses of all of them
//! ([`ClientBuilder::other_addresses`](crate::ClientBuilder::other_addresses)). It
//! uses one, and goes on at the next one when it fails: waits end with their own
//! jobs, and nothing is submitted twice. Set
//! [`assume_idempotency`](crate::ClientBuilder::assume_idempotency), so that the
//! first submission of a process goes on too if its response is lost. A pool would
//! take the daemons for several queues.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::BoxError> {
//! use foreman_client::{Client, SubmitRequest};
//! # let daemon = foreman_daemon::Daemon::start().await?;
//! # let (box_1, box_2) = (daemon.url(), "http://127.0.0.1:9");
//!
//! let client = Client::builder(box_1).other_addresses([box_2]).build().await?;
//! let request = SubmitRequest::builder("echo").user("hi").build()?;
//! assert!(client.submit(request).await?.is_success());
//! # Ok(()) }
//! ```
//!
//! A box that refuses connections is left at once, and one whose machine has lost its
//! power after the connect timeout (5 s). Where a connection is open, or a process
//! hangs that still accepts connections, silence is all that a client has to go by:
//!
//! | request | goes to the next address after |
//! |---|---|
//! | a read, such as a poll or a list | its part of the request timeout (30 s): 15 s with two addresses, 10 s with three |
//! | a long poll | that, and up to 20 s for which the daemon may hold it |
//! | a submission | the request timeout, and then with the same idempotency key |
//! | an embedding, a cancel | it fails after the request timeout; the next request goes to the next address |
//!
//! An open event stream is given up after 45 to 50 s of silence, and the poll that
//! follows, which may be a long one, adds its own time. So a result comes at most about
//! 85 s late by the event stream with two addresses, and 80 s with three; by polls alone
//! 35 and 30 s. Webhooks come from the box that ran the job, and are not late. The job
//! that the box ran begins anew after its lease.
//!
//! # Several replicas of a gateway
//!
//! A webhook goes to the callback URL that the submission named, and only the
//! process that submitted knows the token in that URL. So each replica needs a
//! callback URL of its own
//! ([`public_url`](crate::ClientBuilder::public_url)), such as the address of its
//! pod. Behind one URL for all replicas, an event reaches a random replica, which
//! answers 404; the polls then find the results. Turn webhooks off in that case
//! ([`polling`](crate::ClientBuilder::polling)): the event stream of each replica
//! then reports its jobs.
//!
//! A job id works at every replica: any of them can attach to a job that another
//! one has submitted, if they share the token. After a crash between the
//! submission and its response, a replica finds the job by the key that was stored
//! before
//! ([`idempotency_key`](crate::SubmitRequestBuilder::idempotency_key)).
