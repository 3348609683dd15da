#![doc = include_str!("../README.md")]
//! # Where to read on
//!
//! - [`wait`]: what a wait promises, which layer goes on which side of it, and a stack to copy.
//! - [`retry`]: policies for `tower::retry` that do not run a job twice.
//! - [`webhook`]: the receiver, mounted or on a socket of its own, and what it answers.
//! - [`error`]: the one error, and what it becomes as an HTTP response or a gRPC status.
//! - [`api`]: the endpoints without waiting.
//!
//! # What it costs
//!
//! With 100,000 jobs waiting, each in a task of its own, a job costs 795 allocated bytes by webhook and 762 by polling, its
//! [`JobWait`] being 328 of them; 984 bytes are resident for each that waits by webhook, which includes the allocator's own
//! (`cargo bench --bench footprint`, which fails at 800 allocated bytes, as does a test).
#![cfg_attr(docsrs, feature(doc_cfg))]
// A library says things by its results and by tracing; examples and benches print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod api;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
pub mod client;
pub mod error;
pub mod job;
pub mod model;
pub mod request;
pub mod retry;
pub mod source;
pub mod submission;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;
pub mod wait;
pub mod webhook;

pub use self::api::Api;
pub use self::client::{Client, ClientBuilder, Stats};
pub use self::error::{BoxError, Error, InvalidValue};
pub use self::job::{Artifact, JobId, JobResult, JobState, JobStatus};
pub use self::model::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
pub use self::request::{Message, SubmitRequest, SubmitRequestBuilder};
pub use self::source::{Notifier, WebhookStats};
pub use self::submission::{DropPolicy, StateChange, States, Submission, Via};
pub use self::wait::{JobWait, Wait, WaitLayer};
