use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Artifact, JobHandle, JobId, JobState, JobStatus};
use crate::error::Kind;
use crate::{DaemonId, Error};

/// A finished job: a [`JobStatus`] whose state is `done` or `failed`.
///
/// Cloning is cheap whatever the size of the result.
#[derive(Debug, Clone)]
pub struct JobResult {
    status: Arc<JobStatus>,
    daemon: Option<DaemonId>,
}

impl JobResult {
    /// Converts a terminal status.
    ///
    /// # Errors
    ///
    /// Returns the status if it is not terminal.
    #[expect(clippy::result_large_err, reason = "it is the argument")]
    pub fn new(status: JobStatus) -> Result<Self, JobStatus> {
        if status.state.is_terminal() { Ok(Self { status: Arc::new(status), daemon: None }) } else { Err(status) }
    }

    pub(crate) fn with_daemon(mut self, daemon: Option<DaemonId>) -> Self {
        self.daemon = daemon;
        self
    }

    /// The id of the job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.status.job_id
    }

    /// The state: `done` or `failed`.
    #[must_use]
    pub fn state(&self) -> &JobState {
        &self.status.state
    }

    /// Whether the job is done, and has not failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.state == JobState::Done
    }

    /// The result as JSON, byte for byte as received. `None` for a job that failed.
    #[must_use]
    pub fn json(&self) -> Option<&RawValue> {
        self.status.result.as_deref()
    }

    /// Why the job failed. `None` for a job that is done.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.status.error.as_deref()
    }

    /// The files that the job produced in addition to its result.
    #[must_use]
    pub fn artifacts(&self) -> &[Artifact] {
        &self.status.artifacts
    }

    /// The model of the request.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.status.model
    }

    /// How many attempts the job took.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.status.attempt
    }

    /// When the job ended, by the clock of the daemon.
    #[must_use]
    pub fn completed_at(&self) -> Option<Timestamp> {
        self.status.completed_at
    }

    /// Everything that the daemon reported.
    #[must_use]
    pub fn status(&self) -> &JobStatus {
        &self.status
    }

    /// The base URL of the daemon that ran the job. `None` if the [`WaitLayer`](crate::WaitLayer) does not know its daemon.
    #[must_use]
    pub fn daemon(&self) -> Option<&str> {
        self.daemon.as_ref().map(|daemon| daemon.base_url().as_str())
    }

    /// The job and its daemon, to be stored. `None` if the daemon is not known.
    #[must_use]
    pub fn job_handle(&self) -> Option<JobHandle> {
        let daemon = self.daemon.as_ref()?;
        Some(JobHandle::new(daemon.base_url().clone(), self.job_id().clone()))
    }

    /// Returns a job that is done, and an error for a job that failed.
    ///
    /// # Errors
    ///
    /// [`Error::is_job_failed`] with the daemon's reason in [`Error::reason`].
    pub fn into_success(self) -> Result<Self, Error> {
        if self.is_success() {
            return Ok(self);
        }
        let reason = self.error().unwrap_or("no reason given").to_owned();
        Err(self.annotate(Error::new(Kind::Failed(reason))))
    }

    /// The text of the assistant: `message.content` of Ollama's chat response. `None` for a job that failed, and for a result of
    /// another shape.
    #[must_use]
    pub fn content(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        struct Chat<'a> {
            #[serde(borrow)]
            message: Message<'a>,
        }
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            content: Text<'a>,
        }
        // serde borrows a `Cow` only where the field itself says so.
        #[derive(Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

        let chat: Chat<'_> = serde_json::from_str(self.json()?.get()).ok()?;
        Some(chat.message.content.0)
    }

    /// Deserializes the result.
    ///
    /// # Errors
    ///
    /// [`Error::is_bad_response`] if there is no result, or it is of another shape.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let raw = self.json().ok_or_else(|| self.bad_result("job without result"))?;
        serde_json::from_str(raw.get()).map_err(|error| self.bad_result("result of another shape").with_source(error))
    }

    /// The status by value.
    #[must_use]
    pub fn into_status(self) -> JobStatus {
        Arc::unwrap_or_clone(self.status)
    }

    fn bad_result(&self, reason: &'static str) -> Error {
        self.annotate(Error::response(reason))
    }

    fn annotate(&self, error: Error) -> Error {
        let daemon = self.daemon.as_ref().map(|daemon| daemon.base_url().clone());
        error.with_job(Some(self.job_id().clone()), None, Some(self.state().clone())).with_daemon(daemon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(json: &str) -> JobResult {
        JobResult::new(serde_json::from_str(json).unwrap()).unwrap()
    }

    #[test]
    fn content_is_text_of_assistant() {
        let plain =
            finished(r#"{"job_id":"7","state":"done","result":{"message":{"role":"assistant","content":"sky"}}}"#);
        assert!(matches!(plain.content(), Some(Cow::Borrowed("sky"))));
        let escaped = finished(r#"{"job_id":"7","state":"done","result":{"message":{"content":"a\nb"}}}"#);
        assert_eq!(escaped.content().unwrap(), "a\nb");
        for other in ["null", "[]", r#"{"message":null}"#, r#"{"message":{"content":7}}"#] {
            let odd = finished(&format!(r#"{{"job_id":"7","state":"done","result":{other}}}"#));
            assert_eq!(odd.content(), None, "{other}");
        }
    }

    #[test]
    fn into_success_fails_for_a_failed_job() {
        let failed = finished(r#"{"job_id":"7","state":"failed","error":"out of memory"}"#);
        let error = failed.into_success().unwrap_err();
        assert!(error.is_job_failed() && !error.may_be_running() && !error.is_retryable());
        assert_eq!((error.reason(), error.job_id().map(AsRef::as_ref)), (Some("out of memory"), Some("7")));
        assert_eq!(error.to_string(), "job failed: out of memory (job 7, last state failed)");
    }

    #[test]
    fn deserialize_reports_missing_and_misshapen_results() {
        let done = finished(r#"{"job_id":"7","state":"done","result":[1,2]}"#);
        assert_eq!(done.deserialize::<Vec<u8>>().unwrap(), [1, 2]);
        assert!(done.deserialize::<String>().unwrap_err().is_bad_response());
        let empty = finished(r#"{"job_id":"7","state":"done","result":null}"#);
        assert!(empty.deserialize::<String>().unwrap_err().to_string().contains("job without result"));
    }

    #[test]
    fn status_that_is_not_terminal_is_no_result() {
        let running: JobStatus = serde_json::from_str(r#"{"job_id":"7","state":"running"}"#).unwrap();
        assert_eq!(JobResult::new(running).unwrap_err().job_id.as_str(), "7");
    }
}
