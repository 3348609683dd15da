//! The HTTP API. Handlers translate between HTTP and [`Jobs`](super::jobs::Jobs), and decide nothing.

mod auth;
mod body;
mod cancel;
mod events;
mod health;
mod job_path;
mod list;
mod metrics;
mod models;
mod poll;
mod prefer;
mod rejection;
mod router;
mod submit;

pub(super) use self::auth::Tokens;
pub(super) use self::body::BodyLimits;
use self::body::json;
use self::job_path::JobPath;
use self::rejection::Rejection;
pub(super) use self::router::{App, router};
