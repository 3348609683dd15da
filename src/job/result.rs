use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::JobStatus;
use crate::Error;
use crate::error::Kind;

/// A finished job: a [`JobStatus`] whose state is `done` or `failed`.
///
/// It dereferences to the status. Cloning is cheap whatever the size of the result.
#[derive(Debug, Clone)]
pub struct JobResult(Arc<JobStatus>);

impl JobResult {
    /// Converts a terminal status.
    ///
    /// # Errors
    ///
    /// Returns the status if it is not terminal.
    #[expect(clippy::result_large_err, reason = "it is the argument")]
    pub fn new(status: JobStatus) -> Result<Self, JobStatus> {
        if status.state.is_terminal() { Ok(Self(Arc::new(status))) } else { Err(status) }
    }

    /// Returns a job that is done, and an error for a job that failed.
    ///
    /// # Errors
    ///
    /// [`Error::is_job_failed`] with the daemon's reason in [`Error::reason`].
    pub fn into_success(self) -> Result<Self, Error> {
        if self.state == super::JobState::Done {
            return Ok(self);
        }
        let reason = self.error.clone().unwrap_or_else(|| "no reason given".to_owned());
        Err(Error::new(Kind::Failed(reason)).with_job(Some(self.job_id.clone()), None, Some(self.state.clone())))
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

        let chat: Chat<'_> = serde_json::from_str(self.result.as_deref()?.get()).ok()?;
        Some(chat.message.content.0)
    }

    /// Deserializes the result.
    ///
    /// # Errors
    ///
    /// [`Error::is_bad_response`] if there is no result, or it is of another shape.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let raw = self.result.as_deref().ok_or_else(|| self.bad_result("job without result"))?;
        serde_json::from_str(raw.get()).map_err(|error| self.bad_result("result of another shape").with_source(error))
    }

    /// The status by value.
    #[must_use]
    pub fn into_status(self) -> JobStatus {
        Arc::unwrap_or_clone(self.0)
    }

    fn bad_result(&self, reason: &'static str) -> Error {
        Error::response(reason).with_job(Some(self.job_id.clone()), None, Some(self.state.clone()))
    }
}

impl Deref for JobResult {
    type Target = JobStatus;

    fn deref(&self) -> &JobStatus {
        &self.0
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
