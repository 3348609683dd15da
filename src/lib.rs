//! foreman's asynchronous job API as a `tower::Service`.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod api;
pub mod client;
#[cfg(feature = "daemon")]
#[cfg_attr(docsrs, doc(cfg(feature = "daemon")))]
pub mod daemon;
pub mod error;
pub mod job;
pub mod model;
pub mod request;
pub mod retry;
pub mod source;
pub mod submission;
pub mod wait;
pub mod webhook;

pub use self::api::Api;
pub use self::client::{Client, ClientBuilder, Stats};
pub use self::error::{BoxError, Error};
pub use self::job::{Artifact, JobId, JobResult, JobState, JobStatus};
pub use self::model::{EmbedInput, EmbedRequest, EmbedResponse, ModelInfo};
pub use self::request::{Message, SubmitRequest, SubmitRequestBuilder};
pub use self::source::{Notifier, PushStats};
pub use self::submission::{DropPolicy, StateChange, States, Submission, Via};
pub use self::wait::{JobWait, Wait, WaitLayer};
