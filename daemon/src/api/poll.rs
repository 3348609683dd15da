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

/// `GET /jobs/{id}`. With `Prefer: wait` it is a long poll.
pub(super) async fn poll(
    State(app): State<Arc<App>>,
    Extension(owner): Extension<Owner>,
    job: JobPath,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let JobPath(job_id) = job;
    // Long polls never take the last connections. Without a permit, it is an ordinary poll.
    let hold = prefer::wait(&headers).and_then(|wait| Some((wait.min(app.max_hold), app.holds.try_acquire().ok()?)));
    let (wait, status) = match hold {
        Some((wait, _permit)) => (Some(wait), long_poll(&app, owner, &job_id, &headers, wait).await?),
        None => (None, app.jobs.status(owner, &job_id).await?),
    };
    let status = status.ok_or_else(Rejection::unknown_job)?;
    app.jobs.counters.polls.add();
    let mut response = json(StatusCode::OK, &*status);
    if let Ok(etag) = HeaderValue::try_from(etag(&status)) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    if let Some(wait) = wait {
        let applied = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
        response.headers_mut().extend(applied.ok().map(|applied| (PREFERENCE_APPLIED, applied)));
    }
    Ok(response)
}

/// Returns the status once it is terminal or differs from those in `If-None-Match`, and after `wait` at the latest.
async fn long_poll(
    app: &App,
    owner: Owner,
    job_id: &JobId,
    headers: &HeaderMap,
    wait: Duration,
) -> Result<Option<Arc<JobStatus>>, StoreError> {
    // Subscribes before it reads the status, so that it misses no change.
    let mut watch = app.jobs.watch(job_id);
    let until = Instant::now() + wait;
    loop {
        let Some(status) = app.jobs.status(owner, job_id).await? else { return Ok(None) };
        if status.state.is_terminal() || is_new(&status, headers) {
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

/// A weak tag: it identifies the state and the attempt. The position in the queue may differ.
fn etag(status: &JobStatus) -> String {
    format!("W/\"{}-{}\"", status.state, status.attempt)
}

/// Whether the request has `If-None-Match` and the status matches none of its tags, by weak comparison.
fn is_new(status: &JobStatus, headers: &HeaderMap) -> bool {
    let tags = || headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags = || tags().flat_map(|value| value.split(',')).map(str::trim);
    let etag = etag(status);
    let opaque = etag.trim_start_matches("W/");
    tags().next().is_some() && !tags().any(|tag| tag == "*" || tag.trim_start_matches("W/") == opaque)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobState;

    #[test]
    fn state_is_new_if_no_tag_matches() {
        let status = JobStatus::new(JobId::new("7").unwrap(), JobState::Queued);
        assert_eq!(etag(&status), "W/\"queued-0\"");
        for (tags, new) in [
            (None, false),
            (Some("W/\"queued-0\""), false),
            (Some("\"queued-0\""), false),
            (Some("\"x\", W/\"queued-0\""), false),
            (Some("*"), false),
            (Some("W/\"running-1\""), true),
            (Some(""), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(tags.map(|tags| (header::IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap())));
            assert_eq!(is_new(&status, &headers), new, "{tags:?}");
        }
    }
}
