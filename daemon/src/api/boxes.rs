use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use foreman_protocol::{BoxBackend, BoxInfo};
use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::{App, Rejection, json};
use crate::store::{BoxState, ListedBackend};

#[derive(Serialize)]
struct Listing {
    boxes: Vec<BoxInfo>,
}

/// `GET /api/boxes`
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Rejection> {
    let (this, boxes) = app.jobs.boxes().await?;
    let boxes = boxes.into_iter().map(|one| info(one, this)).collect();
    Ok(json(StatusCode::OK, &Listing { boxes }))
}

fn info(one: BoxState, this: Uuid) -> BoxInfo {
    let mut info = BoxInfo::new(one.id, one.name);
    info.answering = one.id == this;
    info.started_at = one.started_at;
    info.lease_seconds = one.lease.map(|seconds| (seconds * 1000.0).round() / 1000.0);
    info.draining = one.draining;
    info.running_jobs = one.running;
    info.backends = one.backends.into_iter().flatten().map(backend).collect();
    info
}

fn backend(listed: ListedBackend) -> BoxBackend {
    let names = listed.models.map(|models| models.into_iter().map(|model| model.name).collect());
    BoxBackend::new(listed.name, names)
}
