use std::sync::Arc;

use axum::extract::{Path, State};
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

/// `PUT /api/boxes/{id}/drain`
pub(super) async fn drain(State(app): State<Arc<App>>, path: Path<String>) -> Result<Response, Rejection> {
    set_draining(&app, &path, true).await
}

/// `DELETE /api/boxes/{id}/drain`
pub(super) async fn undrain(State(app): State<Arc<App>>, path: Path<String>) -> Result<Response, Rejection> {
    set_draining(&app, &path, false).await
}

async fn set_draining(app: &Arc<App>, id: &str, draining: bool) -> Result<Response, Rejection> {
    let unknown = || Rejection::new(StatusCode::NOT_FOUND, "box not found");
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    let jobs = Arc::clone(&app.jobs);
    if !app.jobs.run_detached(async move { jobs.set_draining(id, draining).await }).await? {
        return Err(unknown());
    }
    let message = if draining { "box drained" } else { "box takes jobs again" };
    tracing::info!(%id, message);
    let (this, boxes) = app.jobs.boxes().await?;
    let one = boxes.into_iter().find(|one| one.id == id).ok_or_else(unknown)?;
    Ok(json(StatusCode::OK, &info(one, this)))
}

fn info(one: BoxState, this: Uuid) -> BoxInfo {
    let mut info = BoxInfo::new(one.id, one.name);
    info.answering = one.id == this;
    info.started_at = one.started_at;
    info.lease_seconds = one.lease.map(|seconds| (seconds * 1000.0).round() / 1000.0);
    info.draining = one.draining;
    info.running_jobs = one.running;
    info.different_options = one.different_options;
    info.backends = one.backends.into_iter().flatten().map(backend).collect();
    info
}

fn backend(listed: ListedBackend) -> BoxBackend {
    let names = listed.models.map(|models| models.into_iter().map(|model| model.name).collect());
    let mut backend = BoxBackend::new(listed.name, names);
    (backend.unavailable, backend.loaded) = (listed.unavailable, listed.loaded);
    backend
}
