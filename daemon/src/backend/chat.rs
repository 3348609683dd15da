use std::sync::Arc;

use foreman_protocol::json::raw;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::job_spec::JobSpec;
use crate::{Artifact, InvalidValue, JobId, Message};

/// One attempt of a job, the request of a backend.
///
/// The values of its [`spec`](Self::spec) are as submitted, byte for byte. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Chat {
    job_id: JobId,
    attempt: u64,
    submission: Arc<JobSpec>,
}

impl Chat {
    pub(crate) fn new(job_id: JobId, attempt: u64, submission: Arc<JobSpec>) -> Self {
        Self { job_id, attempt, submission }
    }

    /// Parses the body of a submission, for tests of a backend.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if `body` is not the body of a submission.
    pub fn from_json(job_id: JobId, attempt: u64, body: &[u8]) -> Result<Self, InvalidValue> {
        let submission = serde_json::from_slice(body)
            .map_err(|error| InvalidValue::new("body", "is not a submission").with_source(error))?;
        Ok(Self::new(job_id, attempt, Arc::new(submission)))
    }

    /// The id of the job.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// The number of the attempt, counted from 1.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The submission, with all fields of Ollama's chat request.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.submission
    }

    /// The requested model; never empty.
    #[must_use]
    pub fn model(&self) -> &str {
        self.submission.model()
    }

    /// The conversation.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        self.submission.messages()
    }

    /// `stream`, if it was set. It does not affect the job's result.
    #[must_use]
    pub fn stream(&self) -> Option<bool> {
        self.submission.stream()
    }

    /// `tools`, if they were set.
    #[must_use]
    pub fn tools(&self) -> Option<&RawValue> {
        self.submission.tools()
    }

    /// `options`, if they were set.
    #[must_use]
    pub fn options(&self) -> Option<&RawValue> {
        self.submission.options()
    }

    /// `think`, if it was set.
    #[must_use]
    pub fn think(&self) -> Option<&RawValue> {
        self.submission.think()
    }
}

/// A backend's response to a [`Chat`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatResponse {
    /// The job's `result`: Ollama's chat response, byte for byte.
    pub result: Box<RawValue>,
    /// Further outputs.
    pub artifacts: Vec<Artifact>,
}

impl ChatResponse {
    /// A response from JSON.
    #[must_use]
    pub fn new(result: Box<RawValue>) -> Self {
        Self { result, artifacts: Vec::new() }
    }

    /// A response from a value that is serialized to JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if it cannot be serialized.
    pub fn from_value(result: &(impl Serialize + ?Sized)) -> Result<Self, InvalidValue> {
        Ok(Self::new(raw("result", result)?))
    }

    /// Adds an artifact.
    #[must_use]
    pub fn artifact(mut self, artifact: Artifact) -> Self {
        self.artifacts.push(artifact);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submission_is_preserved_byte_for_byte() {
        let body =
            br#"{"own":{ "b":1.0 },"model":"m","messages":[{"b":1.0,"a":"\u00e4"}],"tools":[ 1 ],"options":{"t":1e0},"think":null,"none":null}"#;
        let chat = Chat::from_json(JobId::new("7").unwrap(), 1, body).unwrap();
        assert_eq!(chat.messages()[0].as_json(), r#"{"b":1.0,"a":"\u00e4"}"#);
        assert_eq!(chat.tools().unwrap().get(), "[ 1 ]");
        assert_eq!(chat.options().unwrap().get(), r#"{"t":1e0}"#);
        let fields: Vec<_> = chat.spec().fields().map(|(name, value)| (name, value.get())).collect();
        assert_eq!(fields, [("own", r#"{ "b":1.0 }"#)]);
        assert!(chat.spec().field("none").is_none());
        assert!(chat.think().is_none() && chat.stream().is_none());
    }
}
