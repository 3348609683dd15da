use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query as Asked, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{App, Rejection, json};
use crate::owner::Owner;
use crate::store::Query;
use crate::{JobState, JobStatus};

/// How many jobs a page has unless it is said.
const PAGE: usize = 50;
/// How many it has at most.
const MAX_PAGE: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    state: Option<JobState>,
    limit: Option<usize>,
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct Listing<'a> {
    jobs: Vec<&'a JobStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// `GET /jobs?state=&limit=&cursor=`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    parameters: Result<Asked<Parameters>, QueryRejection>,
) -> Result<Response, Rejection> {
    let Asked(parameters) = parameters.map_err(|error| bad(error.body_text()))?;
    if matches!(parameters.state, Some(JobState::Other(_))) {
        return Err(bad("state must be queued, running, done or failed"));
    }
    let limit = parameters.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad("limit must be 1 to 200"));
    }
    let query = Query { owner, state: parameters.state, before: parameters.cursor, limit };
    let page = app.jobs.list(query).await?;
    let jobs = page.jobs.iter().map(AsRef::as_ref).collect();
    Ok(json(StatusCode::OK, &Listing { jobs, next_cursor: page.next.map(|number| number.to_string()) }))
}

fn bad(why: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, why)
}
