use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query as UrlQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{App, Rejection, json};
use crate::owner::Owner;
use crate::store::Query;
use crate::{JobState, JobStatus};

/// The default page size, in jobs.
const DEFAULT_LIMIT: usize = 50;
/// The largest page size, in jobs.
const MAX_LIMIT: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    state: Option<JobState>,
    limit: Option<usize>,
    cursor: Option<u64>,
    #[serde(default)]
    results: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    jobs: Vec<&'a JobStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// `GET /jobs?state=&limit=&cursor=&results=`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    parameters: Result<UrlQuery<Parameters>, QueryRejection>,
) -> Result<Response, Rejection> {
    let UrlQuery(parameters) = parameters.map_err(|error| bad_request(error.body_text()))?;
    if matches!(parameters.state, Some(JobState::Other(_))) {
        return Err(bad_request("state must be queued, running, done or failed"));
    }
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad_request("limit must be 1 to 200"));
    }
    let Parameters { state, cursor: before, results, .. } = parameters;
    let query = Query { owner, state, before, limit, results };
    let page = app.jobs.list(query).await?;
    let jobs = page.jobs.iter().map(AsRef::as_ref).collect();
    Ok(json(StatusCode::OK, &Listing { jobs, next_cursor: page.next.map(|number| number.to_string()) }))
}

fn bad_request(reason: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, reason)
}
