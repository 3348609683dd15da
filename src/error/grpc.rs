use ::tonic::metadata::{MetadataMap, MetadataValue};
use ::tonic::{Code, Status};

use super::Error;
use super::meaning::Meaning;

/// The key, in the metadata of a `Status`, of the job that the error is about.
pub const JOB_ID: &str = "foreman-job-id";
/// The key of the idempotency key of the submission.
pub const IDEMPOTENCY_KEY: &str = "foreman-idempotency-key";
/// The key of the last state seen of the job.
pub const LAST_STATE: &str = "foreman-last-state";
/// The key that is there, with the value `true`, when the job may still be running.
pub const MAY_BE_RUNNING: &str = "foreman-may-be-running";
/// The key by which gRPC servers say how long to wait before a retry (gRFC A6).
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let meaning = Meaning::of(&error);
        let message = match meaning.detail(&error) {
            Some(detail) => format!("{}: {detail}", meaning.title()),
            None => meaning.title().to_owned(),
        };
        let mut metadata = MetadataMap::new();
        let mut tell = |key: &'static str, value: Option<String>| {
            // An id that cannot stand in a header is told in its escaped spelling, rather than not at all.
            let value = value.and_then(|value| {
                let escaped = || MetadataValue::try_from(value.escape_default().to_string());
                MetadataValue::try_from(value.as_str()).or_else(|_| escaped()).ok()
            });
            if let Some(value) = value {
                metadata.insert(key, value);
            }
        };
        tell(JOB_ID, error.job_id().map(ToString::to_string));
        tell(IDEMPOTENCY_KEY, error.idempotency_key().map(|key| key.to_string()));
        tell(LAST_STATE, error.last_state().map(ToString::to_string));
        tell(MAY_BE_RUNNING, error.may_be_running().then(|| "true".to_owned()));
        let pushback = meaning.retry_after(&error).map(|seconds| seconds.saturating_mul(1_000).to_string());
        tell(PUSHBACK, pushback);
        Self::with_metadata(code(meaning), message, metadata)
    }
}

/// `UNAVAILABLE`, which gRPC clients repeat by themselves, is said only where repeating cannot run a job twice.
fn code(meaning: Meaning) -> Code {
    match meaning {
        Meaning::Invalid | Meaning::Rejected => Code::InvalidArgument,
        Meaning::NotFound => Code::NotFound,
        Meaning::Conflict => Code::FailedPrecondition,
        Meaning::TooMany => Code::ResourceExhausted,
        Meaning::Overloaded | Meaning::Unreachable => Code::Unavailable,
        Meaning::Unsupported => Code::Unimplemented,
        Meaning::Deadline => Code::DeadlineExceeded,
        Meaning::Daemon => Code::Unknown,
        Meaning::Failed => Code::Aborted,
    }
}
