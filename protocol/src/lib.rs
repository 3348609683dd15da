//! The types on the wire between foreman's client and its daemon, and the signatures of the daemon's webhooks.
//!
//! You normally use this crate through `foreman-client` or `foreman-daemon`, which re-export what their users need.
//!
//! | module | contents |
//! |---|---|
//! | the crate root | jobs, messages, models, embeddings, base URLs, `Retry-After`, and the error [`InvalidValue`] |
//! | [`webhook`] | the secret, the two kinds of signature, and the header names |
//! | [`json`] | helpers for reading and writing JSON |
//! | `http1` (feature `server`) | code that the HTTP/1 servers of client and daemon share |
//!
//! # Sources of the wire format
//!
//! Fields in JSON have the same name in Rust and on the wire.
//!
//! | type or function | on the wire | defined by |
//! |---|---|---|
//! | [`JobId`], [`JobState`], [`JobStatus`], [`Artifact`] | the response to `GET /jobs/{id}`, and the body of a webhook | foreman's HTTP API (`foreman_daemon::http_api`) |
//! | [`Message`] | an element of `messages` in `POST /jobs` | Ollama's `POST /api/chat` |
//! | [`ModelInfo`] | an element of `models` in the response to `GET /api/tags` | Ollama's `GET /api/tags` |
//! | [`BoxInfo`] | an element of `boxes` in the response to `GET /api/boxes` | foreman's HTTP API |
//! | [`EmbedRequest`], [`EmbedResponse`] | request and response of `POST /api/embed` | Ollama's `POST /api/embed` |
//! | [`Secret::sign`](webhook::Secret::sign) | `X-Foreman-Signature` | foreman's HTTP API; HMAC is RFC 2104 |
//! | [`Secret::sign_standard`](webhook::Secret::sign_standard) | `webhook-id`, `webhook-timestamp`, `webhook-signature` | [Standard Webhooks] |
//! | [`retry_after`] | `Retry-After` | RFC 9110, section 10.2.3 |
//! | times in [`JobStatus`] and [`ModelInfo`] | strings | RFC 3339 |
//!
//! # Absent fields and `null`
//!
//! An unknown field is ignored, and an absent field has its default. [`JobStatus`] reads `null` as an absent field; only
//! `job_id` and `state` are required there. In [`Artifact`] and [`ModelInfo`], `null` is an error where the field's type is
//! not an `Option`.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod base_url;
mod box_info;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod http1;
mod human_duration;
mod invalid;
mod job;
pub mod json;
mod message;
mod model;
mod retry_after;
pub mod webhook;

pub use self::base_url::BaseUrl;
pub use self::box_info::{BoxBackend, BoxInfo};
pub use self::human_duration::HumanDuration;
pub use self::invalid::InvalidValue;
pub use self::job::{Artifact, ArtifactError, JobId, JobState, JobStatus};
pub use self::message::Message;
pub use self::model::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
pub use self::retry_after::retry_after;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Compiles the example in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
