//! Errors as responses, by the table in `foreman_client::error`.

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use serde_json::Value;

use crate::meanings::{DAEMON, Job, rows};

#[tokio::test(start_paused = true)]
async fn each_error_is_the_problem_of_its_row() {
    for row in rows().await {
        let what = row.what;
        let key = row.error.idempotency_key().map(|key| key.to_string());
        let (head, body) = row.error.into_response().into_parts();
        let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap());
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(head.status, row.status, "{what}: {problem}");
        assert_eq!(header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(header("retry-after"), row.retry_after.map(|seconds| seconds.to_string()).as_deref(), "{what}");

        let member = |name| problem.get(name).map(|value: &Value| value.as_str().unwrap());
        assert_eq!(problem["status"], row.status, "{what}: {problem}");
        assert!(!member("title").unwrap().is_empty(), "{what}: {problem}");
        assert_eq!(member("detail"), row.detail, "{what}: {problem}");
        assert_eq!(member("idempotency_key"), key.as_deref(), "{what}: {problem}");
        let Job { id, last_state, may_be_running } = row.job;
        assert_eq!((member("job_id"), member("last_state")), (id, last_state), "{what}: {problem}");
        assert_eq!(problem["may_be_running"], may_be_running, "{what}: {problem}");
        assert!(!problem.to_string().contains(DAEMON), "{what}: {problem}");
    }
}
