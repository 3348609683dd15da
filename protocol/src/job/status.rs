use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Artifact, JobId, JobState};
use crate::json::{lenient, lenient_elements};

/// The status of a job: the response to `GET /jobs/{id}`, the body of a webhook, and an element of `jobs` in the response to
/// `GET /jobs`.
///
/// The wire format is foreman's own (`foreman_daemon::http_api`). Only `job_id` and `state` are required. A `null`, and a value
/// of another type, is read as an absent field: it must not make the result of a finished job unreadable. Unknown fields are
/// ignored. A time on the wire is an RFC 3339 string with any offset and up to nanosecond precision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobStatus {
    /// `job_id`: the job's id.
    pub job_id: JobId,
    /// `state`: the job's state.
    pub state: JobState,
    /// `model`: the model of the request; empty if absent.
    #[serde(default, deserialize_with = "lenient")]
    pub model: String,
    /// `created_at`: when the daemon accepted the job.
    #[serde(default, deserialize_with = "lenient")]
    pub created_at: Option<Timestamp>,
    /// `started_at`: when the latest attempt started.
    #[serde(default, deserialize_with = "lenient")]
    pub started_at: Option<Timestamp>,
    /// `completed_at`: when the job reached a terminal state.
    #[serde(default, deserialize_with = "lenient")]
    pub completed_at: Option<Timestamp>,
    /// `attempt`: how many attempts have started; 0 if absent.
    #[serde(default, deserialize_with = "lenient")]
    pub attempt: u64,
    /// `result`: the result of a job in state `done`, byte for byte as received. It has the shape of a response to Ollama's
    /// `POST /api/chat`.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// `error`: why a job in state `failed` failed.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<String>,
    /// `artifacts`: the files that the job produced in addition to its result; empty if absent.
    #[serde(default, deserialize_with = "lenient_elements")]
    pub artifacts: Vec<Artifact>,
    /// `last_error`: why the latest attempt that ended without a result did, of a job in state `queued` or `running`. Daemons may omit it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// `position`: the place in the queue of a job in state `queued`, where 1 is next. Daemons may omit it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// `box_name`: the name of the daemon that runs a job in state `running`, if several share a queue. Daemons may omit it.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub box_name: Option<String>,
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
            last_error: None,
            position: None,
            box_name: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a caller does not need to know that a job is done never fails the status.
    #[test]
    fn unusable_optional_fields_are_read_as_absent() {
        let json = r#"{"job_id":"7","state":"done","model":7,"created_at":"","started_at":12,"completed_at":"yesterday",
            "attempt":"two","position":-1,"box_name":{},"error":{"code":1},"result":{"a":1},
            "artifacts":[{"name":null,"content_type":3,"size":null,"url":4,"data":"aGk="},null,"a.txt"]}"#;
        let status: JobStatus = serde_json::from_str(json).unwrap();
        assert_eq!(status.result.unwrap().get(), r#"{"a":1}"#);
        assert_eq!((status.created_at, status.started_at, status.completed_at), (None, None, None));
        assert_eq!(status.box_name, None);
        assert_eq!((status.attempt, status.position, status.error, status.model.as_str()), (0, None, None, ""));
        let artifacts: Vec<_> =
            status.artifacts.iter().map(|artifact| (artifact.name.as_str(), artifact.size)).collect();
        assert_eq!(artifacts, [("", 0), ("", 0), ("", 0)]);
        assert!(serde_json::from_str::<JobStatus>(r#"{"job_id":"7","state":"done","artifacts":"none"}"#).is_ok());
    }

    #[test]
    fn required_fields_stay_required() {
        for json in [
            r#"{"state":"done"}"#,
            r#"{"job_id":"7"}"#,
            r#"{"job_id":7,"state":"done"}"#,
            r#"{"job_id":"7","state":null}"#,
        ] {
            assert!(serde_json::from_str::<JobStatus>(json).is_err(), "{json}");
        }
    }
}
