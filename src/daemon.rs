//! An embedded daemon that speaks foreman's protocol: for tests, for trying things out, and for programs that bring their
//! own model.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), foreman_client::Error> {
//! use foreman_client::daemon::{Daemon, Echo};
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

mod api;
mod attempts;
mod backend;
mod builder;
mod delivery;
mod handle;
mod jobs;
mod metrics;
mod owner;
mod server;
mod signals;
mod stats;
mod store;
mod worker;

#[doc = include_str!("../docs/http-api.md")]
pub mod http_api {}

pub use self::backend::{
    Backend, Chat, ChatAnswer, Echo, ListModels, Ollama, OllamaBuilder, OpenAi, OpenAiBuilder, Transient,
};
pub use self::builder::Builder;
pub use self::delivery::WebhookHosts;
pub use self::handle::Daemon;
pub use self::stats::Stats;
