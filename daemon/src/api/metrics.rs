use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

use super::{App, Rejection};
use crate::metrics::{BackendLoad, BoxLoad, Load, MEDIA_TYPE, text};

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Rejection> {
    let jobs = &app.jobs;
    let event_streams = jobs.streams.open_streams() as u64;
    let backends = app.backends.members().iter().map(|member| BackendLoad {
        name: member.name.to_string(),
        is_available: member.availability.outage().is_none(),
        running: member.running.get(),
        models: member.model_count(),
        loaded: member.loaded.reported().unwrap_or_default(),
    });
    let (all, draining) = jobs.count_boxes();
    let lease = jobs.lease_left().map(|left| left.as_secs_f64());
    let load = Load {
        queued: jobs.queued() as u64,
        running: jobs.running.get(),
        event_streams,
        boxes: BoxLoad { all, draining, is_draining: jobs.is_draining(), lease },
        backends: backends.collect(),
    };
    let text = text(&jobs.stats(), &load)
        .map_err(|_| Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics"))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], text).into_response())
}
