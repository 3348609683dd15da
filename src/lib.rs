#![doc = include_str!("../README.md")]
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`guide`] | how to use the crate, one page for each subject |
//! | [`client`] | [`Client`]: the default stack, with short methods |
//! | [`pool`] | [`Pool`]: one service over the clients of many daemons |
//! | [`wait`] | [`WaitLayer`], its service [`Wait`] and its future [`JobWait`] |
//! | [`api`] | [`Api`]: each endpoint of the daemon as a service, over any HTTP service |
//! | [`retry`] | policies for `tower::retry` that never submit a job twice |
//! | [`webhook`] | the webhook receiver and listener |
//! | [`source`] | the sources of a completion: the webhook registry, and the stream of polls |
//! | [`submission`] | handles to a submission: its id, its states, its drop policy |
//! | [`request`], [`job`], [`model`] | the wire types: requests, jobs, results, models |
//! | [`error`] | the error, and its HTTP and gRPC forms |
//! | `axum08`, `tonic014` | with the features of the same names: the forms of an error, the webhook route, deadlines |
#![cfg_attr(docsrs, feature(doc_cfg))]
// A library reports by its results and by tracing; examples and benches print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
#[cfg(feature = "axum08")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum08")))]
pub mod axum08;
pub mod client;
pub mod error;
pub mod guide;
pub mod job;
pub mod model;
mod nanos;
pub mod pool;
pub mod request;
pub mod retry;
pub mod source;
pub mod submission;
mod sync;
#[cfg(feature = "tonic014")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic014")))]
pub mod tonic014;
pub mod wait;
pub mod webhook;

pub use foreman_protocol::HumanDuration;

pub use self::api::Api;
pub use self::client::{Client, ClientBuilder, Stats};
pub use self::error::{BoxError, Error, InvalidValue};
pub use self::job::{Artifact, JobHandle, JobId, JobResult, JobState, JobStatus};
pub use self::model::{BoxBackend, BoxInfo, EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
pub use self::pool::Pool;
pub use self::request::{Message, SubmitRequest, SubmitRequestBuilder};
pub use self::source::{Notifier, WebhookStats};
pub use self::submission::{DaemonId, DropPolicy, IdempotencyKey, StateChange, States, Submission, Via};
pub use self::wait::{JobWait, Wait, WaitLayer};
