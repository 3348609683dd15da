use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::encoded;
use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::{Error, JobId, JobStatus};

/// RFC 7240.
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Polls the state of a job (`GET /jobs/{id}`).
#[derive(Debug, Clone)]
pub struct GetJob {
    job_id: JobId,
    wait: Option<Duration>,
    known: Option<HeaderValue>,
}

impl GetJob {
    /// Returns the state at once.
    #[must_use]
    pub fn new(job_id: JobId) -> Self {
        Self { job_id, wait: None, known: None }
    }

    /// A long poll: asks the daemon to hold the response for up to `wait`, in whole seconds, until the job is terminal
    /// (`Prefer: wait=SECONDS`). A daemon that does not know the preference responds at once.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = (wait.as_secs() > 0).then(|| Duration::from_secs(wait.as_secs()));
        self
    }

    /// Ends a long poll as soon as the state differs from the one with this `ETag` (`If-None-Match`).
    #[must_use]
    pub fn if_none_match(mut self, etag: Option<HeaderValue>) -> Self {
        self.known = etag;
        self
    }

    /// The id of the job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// How long the daemon is asked to hold the response.
    #[must_use]
    pub fn waits(&self) -> Option<Duration> {
        self.wait
    }
}

/// The response to [`GetJob`]: the state of the job, and two response headers that the next poll depends on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Polled {
    /// The state of the job: the response body.
    pub status: JobStatus,
    /// The entity tag of this state, to be sent back with [`GetJob::if_none_match`]: the response header `ETag`.
    pub etag: Option<HeaderValue>,
    /// Whether the daemon applied [`GetJob::wait`]: the response header `Preference-Applied` lists `wait`.
    pub held: bool,
}

impl Polled {
    /// A response without either header, as a daemon without long polls sends it: for test doubles.
    #[must_use]
    pub fn new(status: JobStatus) -> Self {
        Self { status, etag: None, held: false }
    }
}

impl From<JobStatus> for Polled {
    fn from(status: JobStatus) -> Self {
        Self::new(status)
    }
}

impl Endpoint for GetJob {
    type Output = Polled;

    const METHOD: Method = Method::GET;

    fn path(&self) -> Cow<'static, str> {
        format!("/jobs/{}", encoded(self.job_id.as_str())).into()
    }

    fn headers(&self, headers: &mut HeaderMap) {
        if let Some(wait) = self.wait
            && let Ok(prefer) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
        {
            headers.insert(PREFER, prefer);
        }
        if let Some(etag) = &self.known {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
    }

    fn long_poll(&self) -> Duration {
        self.wait.unwrap_or_default()
    }

    fn response(&self, response: Response<Bytes>) -> Result<Polled, Error> {
        let status: JobStatus = json(&response, StatusCode::OK)?;
        if status.job_id != self.job_id {
            return Err(Error::response(format!("it is of job {}", status.job_id)));
        }
        Ok(Polled { status, etag: response.headers().get(ETAG).cloned(), held: held(response.headers()) })
    }
}

/// Whether the daemon applied `wait` (`Preference-Applied: wait=20`, possibly among others).
fn held(headers: &HeaderMap) -> bool {
    let values = headers.get_all(PREFERENCE_APPLIED).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|applied| {
        let name = applied.split(['=', ';']).next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("wait")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_percent_encoded() {
        for (id, path) in [
            ("7", "/jobs/7"),
            ("a b?#%", "/jobs/a%20b%3F%23%25"),
            ("ä", "/jobs/%C3%A4"),
            ("a-b_c.d~e", "/jobs/a-b_c.d~e"),
        ] {
            assert_eq!(GetJob::new(JobId::new(id).unwrap()).path(), path);
        }
    }

    #[test]
    fn prefer_has_whole_seconds() {
        let mut headers = HeaderMap::new();
        GetJob::new(JobId::new("7").unwrap()).wait(Duration::from_millis(20_900)).headers(&mut headers);
        assert_eq!(headers["prefer"], "wait=20");
        headers.clear();
        GetJob::new(JobId::new("7").unwrap()).wait(Duration::from_millis(900)).headers(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn response_about_another_job_is_bad() {
        let response = Response::new(Bytes::from(r#"{"job_id":"8","state":"done"}"#));
        let error = GetJob::new(JobId::new("7").unwrap()).response(response).unwrap_err();
        assert!(error.is_bad_response() && error.to_string().contains("it is of job 8"));
    }

    #[test]
    fn applied_preference_is_found_among_others() {
        for (value, applied) in
            [("wait=20", true), ("respond-async, WAIT = 3", true), ("respond-async", false), ("waiting", false)]
        {
            let headers = HeaderMap::from_iter([(PREFERENCE_APPLIED, HeaderValue::from_static(value))]);
            assert_eq!(held(&headers), applied, "{value}");
        }
    }

    #[test]
    fn null_unknown_fields_and_states_are_accepted() {
        let body = r#"{"job_id":"7","state":"paused","model":null,"created_at":"2026-01-02T03:04:05.123456789+02:00",
            "started_at":null,"attempt":2,"result":null,"error":null,"artifacts":null,"new":{"a":[1]}}"#;
        let status = GetJob::new(JobId::new("7").unwrap()).response(Response::new(Bytes::from(body))).unwrap().status;
        assert_eq!((status.state.as_str(), status.state.is_terminal(), status.attempt), ("paused", false, 2));
        assert_eq!(status.created_at.unwrap().to_string(), "2026-01-02T01:04:05.123456789Z");
        assert!(status.artifacts.is_empty() && status.result.is_none() && status.model.is_empty());
    }
}
