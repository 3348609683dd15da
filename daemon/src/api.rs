//! The HTTP API. Handlers translate between HTTP and [`Jobs`](super::jobs::Jobs), and decide nothing.

mod admin;
mod auth;
mod body;
mod boxes;
mod cancel;
mod embed_limit;
mod events;
mod health;
mod host;
mod job_path;
mod list;
mod metrics;
mod models;
mod poll;
mod prefer;
mod queue;
mod rejection;
mod router;
mod submission_rates;
mod submit;

pub(super) use self::auth::Tokens;
pub(super) use self::body::BodyLimits;
use self::body::json;
pub(super) use self::embed_limit::EmbedLimit;
pub(super) use self::host::AllowedHosts;
use self::job_path::JobPath;
pub(super) use self::queue::QueueId;
use self::rejection::Rejection;
pub(super) use self::router::{App, router};
pub(super) use self::submission_rates::SubmissionRates;
