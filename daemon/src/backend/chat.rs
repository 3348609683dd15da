use std::sync::Arc;

use foreman_protocol::json::raw;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::job_spec::JobSpec;
use crate::{Artifact, InvalidValue, JobId, Message};

/// One start of one job, as a backend gets it.
///
/// What was submitted is kept byte for byte: each message, `tools`, `options` and `think`. Cloning is cheap.
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

    /// A chat out of the body of a submission: what a test of a backend begins with.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if it is not such a body.
    pub fn from_json(job_id: JobId, attempt: u64, body: &[u8]) -> Result<Self, InvalidValue> {
        let submission = serde_json::from_slice(body)
            .map_err(|error| InvalidValue::new("body", "is not a submission").with_source(error))?;
        Ok(Self::new(job_id, attempt, Arc::new(submission)))
    }

    /// The job that this is a start of.
    #[must_use]
    pub fn job_id(&self) -> &JobId {
        &self.job_id
    }

    /// Which start it is; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The model asked for; never empty.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.submission.model
    }

    /// The conversation.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.submission.messages
    }

    /// `stream`, if it was set. A job has one result either way.
    #[must_use]
    pub fn stream(&self) -> Option<bool> {
        self.submission.stream
    }

    /// `tools`, if they were set.
    #[must_use]
    pub fn tools(&self) -> Option<&RawValue> {
        self.submission.tools.as_deref()
    }

    /// `options`, if they were set.
    #[must_use]
    pub fn options(&self) -> Option<&RawValue> {
        self.submission.options.as_deref()
    }

    /// `think`, if it was set.
    #[must_use]
    pub fn think(&self) -> Option<&RawValue> {
        self.submission.think.as_deref()
    }
}

/// What a backend made of a [`Chat`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChatAnswer {
    /// The job's `result`: Ollama's chat response, byte for byte.
    pub result: Box<RawValue>,
    /// What was made beside it.
    pub artifacts: Vec<Artifact>,
}

impl ChatAnswer {
    /// An answer that is JSON already.
    #[must_use]
    pub fn new(result: Box<RawValue>) -> Self {
        Self { result, artifacts: Vec::new() }
    }

    /// An answer given as any value that can be JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] if it cannot.
    pub fn from_value(result: &(impl Serialize + ?Sized)) -> Result<Self, InvalidValue> {
        Ok(Self::new(raw("result", result)?))
    }

    /// The same with one more artifact.
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
    fn what_was_submitted_is_kept_byte_for_byte() {
        let body =
            br#"{"model":"m","messages":[{"b":1.0,"a":"\u00e4"}],"tools":[ 1 ],"options":{"t":1e0},"think":null}"#;
        let chat = Chat::from_json(JobId::new("7").unwrap(), 1, body).unwrap();
        assert_eq!(chat.messages()[0].as_json(), r#"{"b":1.0,"a":"\u00e4"}"#);
        assert_eq!(chat.tools().unwrap().get(), "[ 1 ]");
        assert_eq!(chat.options().unwrap().get(), r#"{"t":1e0}"#);
        assert!(chat.think().is_none() && chat.stream().is_none());
    }
}
