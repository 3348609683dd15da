use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    AllowedHosts, BodyLimits, QueueId, Rejection, SubmissionRates, Tokens, admin, auth, boxes, cancel, events, health,
    host, list, metrics, models, poll, queue, submit,
};
use crate::backends::Backends;
use crate::delivery::Policy;
use crate::jobs::Jobs;
use crate::vital::Vital;

/// The state of the handlers.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) queue: QueueId,
    pub(crate) backends: Arc<Backends>,
    pub(crate) tokens: Tokens,
    /// That of operators, if there is one.
    pub(crate) admin: Tokens,
    pub(crate) hosts: AllowedHosts,
    /// Which hosts webhooks may be sent to.
    pub(crate) policy: Policy,
    pub(crate) submission_rates: SubmissionRates,
    pub(crate) body_limits: BodyLimits,
    /// The longest long poll.
    pub(crate) max_hold: Duration,
    /// One permit for each long poll that may be held.
    pub(crate) holds: Semaphore,
    /// Cancelled when the daemon stops accepting jobs.
    pub(crate) closing: CancellationToken,
    /// Cancelled when no job can change any more. It ends long polls and event streams.
    pub(crate) ended: CancellationToken,
    pub(crate) vital: Vital,
}

/// The daemon's API.
pub(crate) fn router(app: Arc<App>) -> Router {
    // Health checks have no token.
    let open = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::clone(&app));
    let api = Router::new()
        .route("/jobs", post(submit::submit).get(list::list))
        .route("/jobs/{id}", get(poll::poll).delete(cancel::cancel))
        .route("/events", get(events::events))
        .route("/api/tags", get(models::list))
        .route("/api/embed", post(models::embed))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || Rejection::new(StatusCode::NOT_FOUND, "path not found"))
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), queue::check))
        .layer(from_fn_with_state(Arc::clone(&app), auth::check))
        .with_state(Arc::clone(&app));
    let reading = Router::new()
        .route("/api/boxes", get(boxes::list))
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), queue::check))
        .layer(from_fn_with_state(Arc::clone(&app), admin::check_reader))
        .with_state(Arc::clone(&app));
    let admin = Router::new()
        .route("/api/boxes/{id}/drain", put(boxes::drain).delete(boxes::undrain))
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), queue::check))
        .layer(from_fn_with_state(Arc::clone(&app), admin::check_admin))
        .with_state(Arc::clone(&app));
    api.merge(open).merge(reading).merge(admin).layer(from_fn_with_state(app, host::check))
}

async fn not_allowed() -> Rejection {
    Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}
