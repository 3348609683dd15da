//! Wire types and webhook signatures that foreman's client and daemon share.
//!
//! `foreman-client` and `foreman-daemon` re-export the types that their users need.
//!
//! - [`JobId`], [`JobState`], [`JobStatus`], [`Artifact`]: a job as `GET /jobs/{id}` and webhooks describe it.
//! - [`Message`], [`ModelInfo`], [`EmbedRequest`], [`EmbedResponse`]: chats, models and embeddings in Ollama's shapes.
//! - [`webhook`]: how webhooks are signed.
//! - [`BaseUrl`], [`json`], [`retry_after`]: what both sides read in the same way.
//! - `http1` (feature `server`): what the HTTP/1 servers of both sides have in common.
//!
//! A value that the protocol does not allow is an [`InvalidValue`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod base_url;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod http1;
mod invalid;
mod job;
pub mod json;
mod message;
mod model;
mod retry_after;
pub mod webhook;

pub use self::base_url::BaseUrl;
pub use self::invalid::InvalidValue;
pub use self::job::{Artifact, ArtifactError, JobId, JobState, JobStatus};
pub use self::message::Message;
pub use self::model::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
pub use self::retry_after::retry_after;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
