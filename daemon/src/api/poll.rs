use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::{Instant, sleep_until};

use super::{App, JobPath, Rejection, json, prefer};
use crate::owner::Owner;
use crate::store::StoreError;
use crate::{JobId, JobStatus};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// `GET /jobs/{id}`, held with `Prefer: wait` until there is something to tell.
pub(super) async fn poll(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    job: JobPath,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let JobPath(job_id) = job;
    let wait = prefer::wait(&headers).map(|wait| wait.min(app.max_hold));
    let status = match wait {
        Some(wait) => held(&app, owner, &job_id, &headers, wait).await?,
        None => app.jobs.status(owner, &job_id).await?,
    };
    let status = status.ok_or_else(Rejection::unknown_job)?;
    app.jobs.counters.polls.add();
    let mut response = json(StatusCode::OK, &*status);
    if let Ok(tag) = HeaderValue::try_from(tag(&status)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if let Some(wait) = wait {
        let applied = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
        response.headers_mut().extend(applied.ok().map(|applied| (PREFERENCE_APPLIED, applied)));
    }
    Ok(response)
}

/// The status as soon as it is terminal or another than the one that was seen, and what it is by then otherwise.
async fn held(
    app: &App,
    owner: Owner,
    job_id: &JobId,
    headers: &HeaderMap,
    wait: Duration,
) -> Result<Option<Arc<JobStatus>>, StoreError> {
    // Before the first look, so that no change falls in between.
    let mut watch = app.jobs.watch(job_id);
    let until = Instant::now() + wait;
    loop {
        let Some(status) = app.jobs.status(owner, job_id).await? else { return Ok(None) };
        if status.state.is_terminal() || is_news(&status, headers) {
            return Ok(Some(status));
        }
        tokio::select! {
            biased;
            () = watch.changed() => {}
            () = sleep_until(until) => return Ok(Some(status)),
            () = app.ended.cancelled() => return Ok(Some(status)),
        }
    }
}

/// Says which state of the job it is, and not which bytes: the place in the queue may differ.
fn tag(status: &JobStatus) -> String {
    format!("W/\"{}-{}\"", status.state, status.attempt)
}

/// Whether who asks named states seen and this is none of them. The comparison is the weak one.
fn is_news(status: &JobStatus, headers: &HeaderMap) -> bool {
    let seen = || headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let seen = || seen().flat_map(|value| value.split(',')).map(str::trim);
    let tag = tag(status);
    let opaque = tag.trim_start_matches("W/");
    seen().next().is_some() && !seen().any(|seen| seen == "*" || seen.trim_start_matches("W/") == opaque)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobState;

    #[test]
    fn a_state_is_news_when_others_were_named() {
        let status = JobStatus::new(JobId::new("7").unwrap(), JobState::Queued);
        assert_eq!(tag(&status), "W/\"queued-0\"");
        for (seen, news) in [
            (None, false),
            (Some("W/\"queued-0\""), false),
            (Some("\"queued-0\""), false),
            (Some("\"x\", W/\"queued-0\""), false),
            (Some("*"), false),
            (Some("W/\"running-1\""), true),
            (Some(""), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(seen.map(|seen| (header::IF_NONE_MATCH, HeaderValue::from_str(seen).unwrap())));
            assert_eq!(is_news(&status, &headers), news, "{seen:?}");
        }
    }
}
