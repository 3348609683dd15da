use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::{Rejection, Tokens, auth, cancel, health, list, metrics, models, poll, submit};
use crate::backend::Backend;
use crate::delivery::Policy;
use crate::faults::{Faults, around};
use crate::jobs::Jobs;

/// What the handlers need.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) backend: Backend,
    pub(crate) tokens: Tokens,
    /// Where webhooks may go.
    pub(crate) policy: Policy,
    /// Bytes.
    pub(crate) body_limit: usize,
    /// The longest time that a poll is held.
    pub(crate) max_hold: Duration,
    /// No new jobs.
    pub(crate) closing: CancellationToken,
    /// No job will change any more: polls need not be held.
    pub(crate) ended: CancellationToken,
    pub(crate) faults: Option<Faults>,
}

/// The daemon's API.
pub(crate) fn router(app: Arc<App>) -> Router {
    // Whoever watches over the daemon has no token.
    let open = Router::new()
        .route("/healthz", get(health::health))
        .method_not_allowed_fallback(not_allowed)
        .with_state(app.closing.clone());
    let faults = app.faults.clone();
    let api = Router::new()
        .route("/jobs", post(submit::submit).get(list::list))
        .route("/jobs/{id}", get(poll::poll).delete(cancel::cancel))
        .route("/api/tags", get(models::list))
        .route("/api/embed", post(models::embed))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(not_allowed)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), auth::check))
        .with_state(app);
    around(api, faults).merge(open)
}

async fn not_allowed() -> Rejection {
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
}
