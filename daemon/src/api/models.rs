use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;
use tower::ServiceExt as _;

use super::{App, Rejection, body, json};
use crate::backend::ListModels;
use crate::failure::failure;
use crate::{BoxError, EmbedRequest, ModelInfo};

#[derive(Serialize)]
struct ModelList {
    models: Vec<ModelInfo>,
}

/// `GET /api/tags`
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Rejection> {
    let models = app.backend.models.clone().oneshot(ListModels).await.map_err(|error| bad_gateway(&error))?;
    Ok(json(StatusCode::OK, &ModelList { models }))
}

/// `POST /api/embed`
pub(super) async fn embed(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Rejection> {
    let (body, lease) = body::read(request, &app.body_limits).await?;
    let request: EmbedRequest = body::parse(&body)?;
    // It may wait for long.
    drop((body, lease));
    if request.model().is_empty() {
        return Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "model must not be missing or empty"));
    }
    let Some(embed) = app.backend.embed.clone() else {
        return Err(Rejection::new(StatusCode::NOT_IMPLEMENTED, "the backend does not support embeddings"));
    };
    let Some(_permit) = app.embed_limit.acquire().await else {
        return Err(Rejection::retry_after(StatusCode::TOO_MANY_REQUESTS, "the queue for embeddings is full", 5));
    };
    let response = embed.oneshot(request).await.map_err(|error| bad_gateway(&error))?;
    Ok(json(StatusCode::OK, &response))
}

fn bad_gateway(error: &BoxError) -> Rejection {
    Rejection::new(StatusCode::BAD_GATEWAY, failure(error.as_ref()))
}
