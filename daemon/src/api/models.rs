use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use serde::Serialize;
use tower::ServiceExt as _;

use super::{App, Rejection, body, json};
use crate::backend::Unavailable;
use crate::backends::Member;
use crate::failure::failure;
use crate::{BoxError, EmbedRequest, ModelInfo};

#[derive(Serialize)]
struct ModelList {
    models: Vec<ModelInfo>,
}

/// `GET /api/tags`
pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Response, Rejection> {
    let models =
        app.backends.list_models(app.jobs.current_fleet().as_deref()).await.map_err(|error| bad_gateway(&error))?;
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
    let with_model = app.backends.with_model(request.model()).await;
    if with_model.is_empty() {
        let model = request.model();
        let reason = match app.jobs.current_fleet().as_deref().and_then(|fleet| fleet.name_with(model)) {
            Some(name) => format!("no backend of this box has the model {model}; box {name} has it"),
            None => format!("no backend has the model {model}"),
        };
        return Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let mut outage = None;
    for member in in_order(with_model, request.model()) {
        let Some(embed) = member.backend.embed.clone() else { continue };
        let Some(_permit) = member.embed_limit.acquire().await else {
            return Err(Rejection::retry_about(StatusCode::TOO_MANY_REQUESTS, "the queue for embeddings is full", 5));
        };
        let _loaded = member.loaded.run(request.model());
        match embed.oneshot(request.clone()).await {
            Ok(response) => return Ok(json(StatusCode::OK, &response)),
            // Another one may be available.
            Err(error) if Unavailable::find(error.as_ref()).is_some() => outage = Some(error),
            Err(error) => return Err(bad_gateway(&error)),
        }
    }
    match outage {
        Some(error) => Err(bad_gateway(&error)),
        None => Err(Rejection::new(StatusCode::NOT_IMPLEMENTED, "the backend does not support embeddings")),
    }
}

/// Those that run jobs at present are first, and of these the ones that have the model loaded.
fn in_order(mut members: Vec<Arc<Member>>, model: &str) -> Vec<Arc<Member>> {
    members.sort_by_cached_key(|member| (member.availability.outage().is_some(), !member.loaded.has(model)));
    members
}

fn bad_gateway(error: &BoxError) -> Rejection {
    Rejection::new(StatusCode::BAD_GATEWAY, failure(error.as_ref()))
}
