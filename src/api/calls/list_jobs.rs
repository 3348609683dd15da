use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use super::encoded;
use crate::api::Call;
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
}

impl ListJobs {
    /// All jobs, as many on a page as the daemon likes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those in that state.
    pub fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    /// At most so many on a page.
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page that [`JobPage::next_cursor`] names.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }
}

/// A page of jobs.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<JobStatus>,
    /// Where the next page begins, if there is one.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl Call for ListJobs {
    type Response = JobPage;

    const METHOD: Method = Method::GET;

    fn path(&self) -> Cow<'static, str> {
        let mut path = String::from("/jobs");
        let limit = self.limit.map(|limit| limit.to_string());
        let pairs = [
            ("state", self.state.as_ref().map(JobState::as_str)),
            ("limit", limit.as_deref()),
            ("cursor", self.cursor.as_deref()),
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
                Err(Error::new(Kind::Unsupported { what: "list jobs", status }))
            }
            _ => json(&response, StatusCode::OK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_holds_what_was_asked() {
        assert_eq!(ListJobs::new().path(), "/jobs");
        let asked = ListJobs::new().state(JobState::Done).limit(5).cursor("a&b");
        assert_eq!(asked.path(), "/jobs?state=done&limit=5&cursor=a%26b");
    }

    #[test]
    fn a_daemon_without_it_is_said_to_be_one() {
        for status in [404, 405, 501] {
            let answer = Response::builder().status(status).body(Bytes::new()).unwrap();
            let error = ListJobs::new().response(answer).unwrap_err();
            assert!(error.is_unsupported() && !error.is_not_found() && !error.is_retryable());
            assert_eq!(error.to_string(), format!("this daemon cannot list jobs (it answered {status})"));
        }
    }
}
