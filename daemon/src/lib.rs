#![doc = include_str!("../README.md")]
//! # In a test
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_daemon::Error> {
//! use foreman_daemon::{Daemon, Echo};
//!
//! // One line for all defaults: 127.0.0.1, a port of the system's choice, a backend that echoes.
//! let daemon = Daemon::start().await?;
//! assert!(daemon.url().starts_with("http://127.0.0.1:"));
//! daemon.shutdown().await;
//!
//! let daemon = Daemon::builder()
//!     .token("a token")
//!     .webhook_secret("It's a Secret to Everybody")
//!     .workers(4)
//!     .backend(Echo::new())
//!     .start()
//!     .await;
//! assert_eq!(daemon.unwrap_err().to_string(), "invalid token: must be visible ASCII without blanks");
//! # Ok(()) }
//! ```
//!
//! # Where jobs are kept
//!
//! In memory, and gone with the daemon, unless [`Builder::store`] names a file. With a file, a `202` means that the job survives
//! a crash of the daemon and a loss of power, and so does every state that was told: what is answered is on the disk
//! (SQLite, one sync for all that came together). Events are recorded with the state that they tell of, and sent at least
//! once. A job that ran when the daemon ended is queued again at the next start, up to [`Builder::attempts`].
//!
//! A job that has ended is kept for 24 hours, and so is the idempotency key it was submitted with ([`Builder::keep`]).
//!
//! # The order of jobs
//!
//! First in, first out, but in batches of one model each, since loading a model costs a GPU more than most jobs do. A job joins
//! the last batch of its model until [`Builder::model_batch`] jobs have joined that (8 unless said), those already taken
//! included; then it begins a batch behind all others. Batches are taken one after the other, and the one taken from last goes
//! on as long as it has room and no other was begun. So
//!
//! * a job is overtaken by at most 7 younger jobs of each other model that was there before it, however many come, and
//!   the job that has waited longest of all by at most 7 more, if none before it was cancelled;
//! * jobs of one model are never overtaken by each other;
//! * two models that come in turn are switched once in 8 jobs.
//!
//! There is one order for all workers, and not one for each: they work on one batch together, so that a GPU that runs several
//! jobs at once runs them on one model. Only where two batches meet do the last jobs of one and the first of the next run
//! together.
//!
//! The `position` of a queued job is its place in the order in which those that wait now are taken, where 1 is next. It grows by
//! those that overtake the job. A daemon that is started with a file forms batches anew, and begins with the job that has waited
//! longest.
//!
//! # Tokens
//!
//! Without any, everybody may ask, and every job is everybody's. With several ([`Builder::token`], [`Builder::tokens`]) each
//! sees its own jobs only: a job belongs to the token that it was submitted with, and to all others it is a job that is not
//! known. So does an idempotency key, and a list has one's own jobs. What tokens share is the daemon: the queue, and with it the
//! places in it, the models, and the counters of `GET /metrics`, which count the jobs of all.
//!
//! A file remembers whose its jobs are, by a digest that tells nobody the token unless they guess it: let tokens be long and
//! random. A job stays with its token. One whose token the daemon does not have any more is run and swept as any other, and
//! is seen again once the daemon has the token again; jobs that were made without tokens are seen without tokens. To replace
//! a token, have both until the last job of the old one is of no more use.
//!
//! # Attempts
//!
//! A backend's error fails the job, unless it is [`Transient`]: then the same worker runs it again after a pause, up to
//! [`Builder::attempts`] times in all.
//!
//! # What is where
//!
//! ```text
//!  api ──────► jobs ◄────── worker ──► backend (tower services)
//!  HTTP          │ ▲
//!  to calls      │ └─────── delivery ──► webhooks
//!                ▼
//!              store: jobs, queue, keys, events; one method is one transaction
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
// A library reports by its results and by tracing.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod attempts;
mod backend;
mod builder;
mod delivery;
mod error;
mod failure;
#[cfg(feature = "faults")]
#[cfg_attr(docsrs, doc(cfg(feature = "faults")))]
pub mod faults;
mod gauge;
mod handle;
mod job_spec;
mod jobs;
mod metrics;
mod owner;
mod server;
mod signals;
mod stats;
mod store;
#[cfg(feature = "tls")]
mod tls;
mod until_stored;
mod worker;

#[doc = include_str!("../docs/http-api.md")]
pub mod http_api {}

#[doc(inline)]
pub use foreman_protocol::{
    Artifact, EmbedInput, EmbedRequest, EmbedResponse, InvalidValue, JobId, Message, ModelInfo,
};
use foreman_protocol::{BaseUrl, JobState, JobStatus};

pub use self::backend::{
    Backend, Chat, ChatAnswer, Echo, ListModels, Ollama, OllamaBuilder, OpenAi, OpenAiBuilder, Transient, model_server,
};
pub use self::builder::Builder;
pub use self::delivery::WebhookHosts;
pub use self::error::Error;
#[cfg(feature = "faults")]
#[cfg_attr(docsrs, doc(cfg(feature = "faults")))]
pub use self::faults::Faults;
pub use self::handle::Daemon;
pub use self::stats::Stats;

/// The error of any service that runs jobs.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
