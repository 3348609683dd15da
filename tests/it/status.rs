//! Errors as gRPC statuses, by the table in `foreman_client::error`.

use foreman_client::tonic014::{IDEMPOTENCY_KEY, JOB_ID, LAST_STATE, MAY_BE_RUNNING, PUSHBACK};
use foreman_client::{BoxError, Error};
use http::{HeaderMap, Response};
use tonic::{Code, Status};

use crate::error_table::{DAEMON, Job, rows};
use crate::support::bounded_paused;

#[tokio::test(start_paused = true)]
async fn errors_map_to_grpc_statuses() {
    for row in bounded_paused(rows()).await {
        let name = row.name;
        let key = row.error.idempotency_key().map(|key| key.to_string());
        let message = row.error.to_string();
        let status = Status::from(row.error);
        assert_eq!(status.code(), row.code, "{name}: {status}");
        let metadata = |key| status.metadata().get(key).map(|value| value.to_str().unwrap());
        let pushback = row.retry_after.map(|seconds| (seconds * 1_000).to_string());
        assert_eq!(metadata(PUSHBACK), pushback.as_deref(), "{name}");
        assert_eq!(metadata(IDEMPOTENCY_KEY), key.as_deref(), "{name}");
        let Job { id, last_state, may_be_running } = row.job;
        assert_eq!((metadata(JOB_ID), metadata(LAST_STATE)), (id, last_state), "{name}: {status}");
        assert_eq!(metadata(MAY_BE_RUNNING), may_be_running.then_some("true"), "{name}: {status}");
        // gRPC clients retry `Unavailable` by themselves.
        assert!(!may_be_running || status.code() != Code::Unavailable, "{name}");
        assert!(row.detail.is_none_or(|detail| status.message().ends_with(detail)), "{name}: {status}");
        assert_eq!(source(&status).to_string(), message, "{name}");
        let sent = headers(status);
        assert!(!format!("{sent:?}").contains(DAEMON), "{name}: {sent:?}");
    }
}

#[test]
fn status_has_the_error_and_its_causes_as_source() {
    let cause: BoxError = std::io::Error::other("the cause").into();
    let status = Status::from(Error::from_boxed(cause));
    assert_eq!(std::error::Error::source(source(&status)).map(ToString::to_string).as_deref(), Some("the cause"));
    assert!(!format!("{:?}", headers(status)).contains("cause"));
}

/// What tonic sends for a status.
fn headers(status: Status) -> HeaderMap {
    let response: Response<()> = status.into_http();
    response.headers().clone()
}

fn source(status: &Status) -> &Error {
    std::error::Error::source(status).and_then(|source| source.downcast_ref()).unwrap()
}
