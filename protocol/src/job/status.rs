use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Artifact, JobId, JobState};
use crate::json::null_is_absent;

/// The status of a job: the response to `GET /jobs/{id}`, the body of a webhook, and an element of `jobs` in the response to
/// `GET /jobs`.
///
/// The wire format is foreman's own (`foreman_daemon::http_api`). Only `job_id` and `state` are required. `null` is read as an
/// absent field, and unknown fields are ignored. A time on the wire is an RFC 3339 string with any offset and up to nanosecond
/// precision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// `job_id`: the job's id.
    pub job_id: JobId,
    /// `state`: the job's state.
    pub state: JobState,
    /// `model`: the model of the request; empty if absent.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub model: String,
    /// `created_at`: when the daemon accepted the job.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// `started_at`: when the latest attempt started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// `completed_at`: when the job reached a terminal state.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// `attempt`: how many attempts have started; 0 if absent.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub attempt: u64,
    /// `result`: the result of a job in state `done`, byte for byte as received. It has the shape of a response to Ollama's
    /// `POST /api/chat`.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// `error`: why a job in state `failed` failed.
    #[serde(default)]
    pub error: Option<String>,
    /// `artifacts`: the files that the job produced in addition to its result; empty if absent.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub artifacts: Vec<Artifact>,
    /// `position`: the place in the queue of a job in state `queued`, where 1 is next. Daemons may omit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

impl JobStatus {
    /// Creates a status with the two required fields, for test doubles of a daemon. The other fields are empty, `None` or 0.
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
