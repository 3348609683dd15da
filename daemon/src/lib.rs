#![doc = include_str!("../README.md")]
//! # In a test
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_daemon::Error> {
//! use foreman_daemon::{Daemon, Echo};
//!
//! // All defaults: 127.0.0.1, a free port, jobs in memory, a backend that echoes.
//! let daemon = Daemon::start().await?;
//! assert!(daemon.url().starts_with("http://127.0.0.1:"));
//! daemon.shutdown().await;
//!
//! // `start` checks the options.
//! let builder = Daemon::builder().workers(4).backend(Echo::new());
//! let error = builder.token("a token").start().await.unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "invalid token: must be visible ASCII without blanks"
//! );
//! # Ok(()) }
//! ```
//!
//! # Storage and durability
//!
//! Jobs are in memory unless [`Builder::store`] names a file. With a file, every change is on disk before the daemon reports it:
//! a response, a state and an event survive a crash and a power failure. Concurrent changes share one sync of the disk. An event
//! is stored together with its state, and sent at least once. A job that was running when the daemon stopped is queued again at
//! the next start, up to [`Builder::attempts`].
//!
//! Instead of a file there may be a PostgreSQL database, which several daemons share ([`Builder::postgres`], feature `postgres`). The
//! jobs that a daemon runs are leased to it. When a daemon has not renewed its lease ([`Builder::lease`]), the others run its jobs again.
//!
//! An ended job and its idempotency key are stored for 24 hours by default ([`Builder::keep`]).
//!
//! # The order of jobs
//!
//! Jobs are first in, first out, in batches of one model each, because loading a model is often more expensive than a job. A job
//! joins the last batch of its model. A batch is full when [`Builder::model_batch`] jobs have joined it (default: 8), including
//! those that have left it; the next job of the model opens a new batch after all others. Batches are taken in order. The current
//! batch continues while it has room and no other batch was taken from. Therefore:
//!
//! * A job is overtaken by at most 7 younger jobs of each other model that was queued before it, however many arrive. The oldest
//!   queued job is overtaken by at most 7 more, unless an older job was cancelled.
//! * Jobs of one model never overtake each other.
//! * Two models whose jobs alternate are switched once per 8 jobs.
//!
//! That is the order of the jobs of one token with one `priority`. Jobs with a higher priority go before the others of their token.
//! Tokens take turns, whatever their priorities: in its turn, a token runs one batch. So a token that submits 10,000 jobs delays each
//! of the others by one batch a turn. A token that runs as many jobs as one may ([`Builder::max_running_per_token`]) leaves its turn to
//! the others.
//!
//! All workers share one order and take from one batch, so that a GPU that runs several jobs runs them on one model. Jobs of two
//! models run together only where two batches meet.
//!
//! The `position` of a queued job is its place in the order in which the queued jobs are taken; 1 is next. It increases when
//! other jobs overtake the job. A daemon that starts with a file forms its batches again, and takes the oldest queued job first.
//!
//! # Several backends
//!
//! With [`Builder::backends`], a job goes to a backend that lists its model: `llama3.2` and `llama3.2:latest` are the same. The lists are
//! refreshed once a minute ([`Builder::model_refresh`]), and when a submission names a model that none of them has. If no backend has it
//! then, the submission gets a 422, or the job waits ([`Builder::accept_unlisted_models`]). A backend that has not listed its models yet
//! may have any, so that the job is accepted. It takes none before its first list has come: one that takes more than 10 s is an outage. A
//! server that responds with an error gets jobs of any model, since it may run models that it cannot list. Each backend has its own workers ([`Backend::workers`]) and
//! its own outages: its jobs go to other backends that have their model, and wait if there is none.
//!
//! A job goes to a backend that has its model loaded, if there is one: an idle backend that would have to load the model leaves the job to
//! it for up to 5 s ([`Builder::loaded_wait`]), also while it is busy, and then takes the next job of the queue. If it has taken other
//! jobs in that time, these and the rest of their batch come first. No job is left while a queued one has a deadline within twice that
//! time. A worker that ends a job takes the next one at once, so that in a long queue the tokens have their turns whatever is loaded. What
//! is loaded is known from `/api/ps` of Ollama, `/running` of llama-swap, `/api/v0/models` of LM Studio and `/models` of llama.cpp's
//! router. The daemon asks when it refreshes the lists, and after a job of a model that was not loaded. A backend of which it is not known
//! leaves no jobs to others, and none are left to it ([`Backend::loaded`]).
//!
//! Each backend works on batches of its own, so that it loads a model once per batch; two backends share a batch only if there is no
//! other. `position` is an estimate then. `GET /api/tags` is the union of the lists, and names the backends of each model. `POST
//! /api/embed` goes to a backend that has the model, loaded if possible, and to another one if that is unavailable.
//!
//! # Several daemons
//!
//! The daemons that share a queue (`Builder::postgres`) publish the lists of their backends. A submission is accepted by each of them if
//! any of them lists its model or has not listed its models yet, and its job runs where the model is. For 5 min after a daemon has stopped,
//! or has lost its lease, a submission for a model that only it had gets a 503 with `Retry-After`. Each backend gets the jobs of the
//! models that it lists only, also if its daemon has no other. [`Echo`] and a backend without [`models`](Backend::models) get all. `GET /api/tags` is the union of
//! all lists. A backend leaves jobs to those of other daemons that have their models loaded too.
//!
//! # Draining
//!
//! A daemon that is drained (`PUT /api/boxes/{id}/drain`) takes no more jobs, and finishes those that it runs, with further attempts if need
//! be. It goes on to accept submissions, to respond and to send webhooks. Of several daemons, the others run the jobs. Draining lasts
//! until it is undone, through renewed and lost leases. A daemon that is started again takes jobs. It needs the
//! [admin token](Builder::admin_token).
//!
//! # Tokens
//!
//! Without a token, requests need no authentication, and all jobs are visible to everyone on this machine: the daemon listens on
//! loopback addresses only, unless [`Builder::allow_anonymous`] opens it to the network. With tokens ([`Builder::token`],
//! [`Builder::tokens`]), a job is visible only to the token that submitted it. To other tokens it is 404. Idempotency keys and
//! lists are separate for each token. All tokens share the queue, its positions, the models and the counters of `GET /metrics`. Limits
//! for each token: [`Builder::max_queue_per_token`], [`Builder::max_running_per_token`] and [`Builder::max_submissions_per_token`].
//!
//! The owner of a job is a digest of its token, separate from the digest used for authentication; the file contains no usable
//! credential. A short token can be guessed from the digest, so tokens should be long and random. A job whose token was removed
//! still runs and expires, and is visible again once the token is configured again. Jobs that were submitted without tokens are
//! visible only to a daemon without tokens. To rotate a token, configure both until the jobs of the old one are no longer needed.
//!
//! # Attempts
//!
//! A run of a job is an attempt. An error of the backend ends the job as `failed`, unless the error is [`Transient`]: then the
//! same worker makes another attempt after a pause. The daemon makes up to [`Builder::attempts`] attempts, including those that a
//! crash of the daemon has interrupted.
//!
//! Two kinds of attempts do not count: those that find the backend [`Unavailable`], and those that [`Daemon::shutdown`] interrupts. While
//! the backend is unavailable, no job is started. So the `attempt` of a job, which is how often it was started, can be higher than that
//! limit.
//!
//! An attempt is not a submission. A client that repeats a submission with the same idempotency key gets the same job, and
//! causes no further attempt.
//!
//! # Layout
//!
//! ```text
//!  api ──────► jobs ◄────── worker ──► backend (tower services)
//!  HTTP          │ ▲
//!  requests      │ └─────── delivery ──► webhooks
//!                ▼
//!              store: jobs, queue, idempotency keys, events; one method is one transaction
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
// A library reports by results and by tracing.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod api;
mod attempts;
mod availability;
mod backend;
mod backends;
mod builder;
mod deadlines;
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
mod lists;
mod metrics;
mod notifications;
mod only_box;
mod outage_log;
mod owner;
mod peer;
mod server;
mod signals;
mod stats;
mod store;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod until_stored;
mod url_parts;
mod vital;
mod worker;

#[doc = include_str!("../docs/http-api.md")]
pub mod http_api {}

#[doc = include_str!("../docs/operating.md")]
pub mod operating {}

#[doc(inline)]
pub use foreman_protocol::{
    Artifact, EmbedInput, EmbedRequest, EmbedResponse, InvalidValue, JobId, Message, ModelInfo,
};
use foreman_protocol::{BaseUrl, JobState, JobStatus};

pub use self::backend::{
    Backend, Chat, ChatResponse, Echo, ListLoaded, ListModels, Ollama, OllamaBuilder, OpenAi, OpenAiBuilder, Transient,
    Unavailable, model_server,
};
pub use self::builder::Builder;
pub use self::delivery::WebhookHosts;
pub use self::error::Error;
#[cfg(feature = "faults")]
#[cfg_attr(docsrs, doc(cfg(feature = "faults")))]
pub use self::faults::Faults;
pub use self::handle::Daemon;
pub use self::job_spec::JobSpec;
pub use self::stats::Stats;

/// The boxed error of backends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
