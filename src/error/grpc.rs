use std::sync::Arc;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::Error;
use super::class::ErrorClass;

/// The metadata key of the job id.
pub const JOB_ID: &str = "foreman-job-id";
/// The metadata key of the idempotency key.
pub const IDEMPOTENCY_KEY: &str = "foreman-idempotency-key";
/// The metadata key of the last state of the job that the client has seen.
pub const LAST_STATE: &str = "foreman-last-state";
/// The metadata key whose value is `true` if a job may be running. Absent otherwise.
pub const MAY_BE_RUNNING: &str = "foreman-may-be-running";
/// The metadata key of the time to wait before a retry, in milliseconds (gRFC A6).
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let class = ErrorClass::of(&error);
        let message = match class.detail(&error) {
            Some(detail) => format!("{}: {detail}", class.title()),
            None => class.title().to_owned(),
        };
        let mut metadata = MetadataMap::new();
        let mut insert = |key: &'static str, value: Option<String>| {
            // An id that is not a valid header value is sent escaped.
            let value = value.and_then(|value| {
                let escaped = || MetadataValue::try_from(value.escape_default().to_string());
                MetadataValue::try_from(value.as_str()).or_else(|_| escaped()).ok()
            });
            if let Some(value) = value {
                metadata.insert(key, value);
            }
        };
        insert(JOB_ID, error.job_id().map(ToString::to_string));
        insert(IDEMPOTENCY_KEY, error.idempotency_key().map(|key| key.to_string()));
        insert(LAST_STATE, error.last_state().map(ToString::to_string));
        insert(MAY_BE_RUNNING, error.may_be_running().then(|| "true".to_owned()));
        let pushback = class.retry_after(&error).map(|seconds| seconds.saturating_mul(1_000).to_string());
        insert(PUSHBACK, pushback);
        let mut status = Self::with_metadata(code(class), message, metadata);
        // For a layer that logs: tonic does not send the source.
        status.set_source(Arc::new(error));
        status
    }
}

/// gRPC clients may repeat a call after `UNAVAILABLE`; [`ErrorClass::of`] allows it only where that cannot submit another job.
fn code(class: ErrorClass) -> Code {
    match class {
        ErrorClass::Invalid | ErrorClass::Rejected => Code::InvalidArgument,
        ErrorClass::NotFound => Code::NotFound,
        ErrorClass::Conflict => Code::FailedPrecondition,
        ErrorClass::TooMany => Code::ResourceExhausted,
        ErrorClass::Overloaded | ErrorClass::Stopping | ErrorClass::Unreachable => Code::Unavailable,
        ErrorClass::Unsupported => Code::Unimplemented,
        ErrorClass::Deadline => Code::DeadlineExceeded,
        ErrorClass::Interrupted => Code::Cancelled,
        ErrorClass::Daemon => Code::Unknown,
        ErrorClass::Failed => Code::Aborted,
    }
}
