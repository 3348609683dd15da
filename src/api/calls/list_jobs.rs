use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use super::encoded;
use crate::api::call::Endpoint;
use crate::api::response::json;
use crate::error::Kind;
use crate::{Error, JobState, JobStatus};

/// Lists jobs, newest first (`GET /jobs`), a page at a time.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ListJobs {
    state: Option<JobState>,
    limit: Option<u32>,
    cursor: Option<String>,
    results: bool,
}

impl ListJobs {
    /// All jobs, with the page size of the daemon.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only jobs in this state.
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// The largest number of jobs on a page.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Asks for the results and the artifacts too (`results=true`), which a daemon may leave out otherwise.
    pub fn results(mut self) -> Self {
        self.results = true;
        self
    }

    /// The page after the one that returned this [`JobPage::next_cursor`].
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }
}

/// A page of jobs.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs, newest first. Without results and artifacts, unless [asked for](ListJobs::results).
    pub jobs: Vec<JobStatus>,
    /// The cursor of the next page, if there is one (`next_cursor` on the wire).
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl Endpoint for ListJobs {
    type Output = JobPage;

    const METHOD: Method = Method::GET;

    fn path(&self) -> Cow<'static, str> {
        let mut path = String::from("/jobs");
        let limit = self.limit.map(|limit| limit.to_string());
        let pairs = [
            ("state", self.state.as_ref().map(JobState::as_str)),
            ("limit", limit.as_deref()),
            ("cursor", self.cursor.as_deref()),
            ("results", self.results.then_some("true")),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                let mark = if path.contains('?') { '&' } else { '?' };
                path.push_str(&format!("{mark}{name}={}", encoded(value)));
            }
        }
        path.into()
    }

    fn response(&self, response: Response<Bytes>) -> Result<JobPage, Error> {
        match response.status() {
            status @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => {
                Err(Error::new(Kind::Unsupported { feature: "listing jobs", status }))
            }
            _ => json(&response, StatusCode::OK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_contains_the_options() {
        assert_eq!(ListJobs::new().path(), "/jobs");
        let list = ListJobs::new().state(JobState::Done).limit(5).cursor("a&b").results();
        assert_eq!(list.path(), "/jobs?state=done&limit=5&cursor=a%26b&results=true");
    }

    #[test]
    fn daemon_without_list_is_unsupported() {
        for status in [404, 405, 501] {
            let response = Response::builder().status(status).body(Bytes::new()).unwrap();
            let error = ListJobs::new().response(response).unwrap_err();
            assert!(error.is_unsupported() && !error.is_not_found() && !error.is_retryable());
            assert_eq!(error.to_string(), format!("daemon does not support listing jobs (it returned {status})"));
        }
    }
}
