use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Artifact, JobId, JobState};
use crate::json::null_is_absent;

/// What the daemon says of a job: the JSON of `GET /jobs/{id}` and of every state webhook.
///
/// Fields that this crate does not know are ignored, and `null` reads as absent. Times are instants; the wire has them as
/// RFC 3339 with up to nanoseconds and any offset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// Which job.
    pub job_id: JobId,
    /// Where it is.
    pub state: JobState,
    /// The model it was submitted for.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub model: String,
    /// When it was accepted.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When a worker last started it.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// How often the daemon has started it.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub attempt: u64,
    /// The result of a job that is done, byte for byte: Ollama's chat response.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Why a job failed.
    #[serde(default)]
    pub error: Option<String>,
    /// What the job made beside its result.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub artifacts: Vec<Artifact>,
    /// The place in the queue while it is `queued`, where 1 is next; only some daemons tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl JobStatus {
    /// A status with no more than the two fields that every status has: what a test double of a daemon answers.
    #[must_use]
    pub fn new(job_id: JobId, state: JobState) -> Self {
        Self {
            job_id,
            state,
            model: String::new(),
            created_at: None,
            started_at: None,
            completed_at: None,
            attempt: 0,
            result: None,
            error: None,
            artifacts: Vec::new(),
            position: None,
        }
    }
}
