//! Errors as gRPC statuses, by the table in `foreman_client::error`.

use foreman_client::tonic::{IDEMPOTENCY_KEY, JOB_ID, LAST_STATE, MAY_BE_RUNNING, PUSHBACK};
use tonic::{Code, Status};

use crate::meanings::{DAEMON, Job, rows};

#[tokio::test(start_paused = true)]
async fn each_error_is_the_status_of_its_row() {
    for row in rows().await {
        let what = row.what;
        let key = row.error.idempotency_key().map(|key| key.to_string());
        let status = Status::from(row.error);
        assert_eq!(status.code(), row.code, "{what}: {status}");
        let told = |key| status.metadata().get(key).map(|value| value.to_str().unwrap());
        let pushback = row.retry_after.map(|seconds| (seconds * 1_000).to_string());
        assert_eq!(told(PUSHBACK), pushback.as_deref(), "{what}");
        assert_eq!(told(IDEMPOTENCY_KEY), key.as_deref(), "{what}");
        let Job { id, last_state, may_be_running } = row.job;
        assert_eq!((told(JOB_ID), told(LAST_STATE)), (id, last_state), "{what}: {status}");
        assert_eq!(told(MAY_BE_RUNNING), may_be_running.then_some("true"), "{what}: {status}");
        // gRPC clients repeat it by themselves.
        assert!(!may_be_running || status.code() != Code::Unavailable, "{what}");
        assert!(row.detail.is_none_or(|detail| status.message().ends_with(detail)), "{what}: {status}");
        assert!(!format!("{status:?}").contains(DAEMON), "{what}: {status:?}");
    }
}
