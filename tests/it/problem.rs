//! Errors as problem details, by the table in `foreman_client::error`.

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use foreman_client::Error;
use foreman_client::axum08::handle_error;
use serde_json::Value;

use crate::error_table::{DAEMON, Job, rows};
use crate::support::bounded_paused;

#[tokio::test(start_paused = true)]
async fn errors_map_to_problem_details() {
    for row in bounded_paused(rows()).await {
        let name = row.name;
        let key = row.error.idempotency_key().map(|key| key.to_string());
        let message = row.error.to_string();
        let (head, body) = row.error.into_response().into_parts();
        let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap());
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(head.status, row.status, "{name}: {problem}");
        assert_eq!(header("content-type"), Some("application/problem+json"), "{name}");
        assert_eq!(header("retry-after"), row.retry_after.map(|seconds| seconds.to_string()).as_deref(), "{name}");

        let member = |name| problem.get(name).map(|value: &Value| value.as_str().unwrap());
        assert_eq!(problem["status"], row.status, "{name}: {problem}");
        assert!(!member("title").unwrap().is_empty(), "{name}: {problem}");
        assert_eq!(member("detail"), row.detail, "{name}: {problem}");
        assert_eq!(member("idempotency_key"), key.as_deref(), "{name}: {problem}");
        let Job { id, last_state, may_be_running } = row.job;
        assert_eq!((member("job_id"), member("last_state")), (id, last_state), "{name}: {problem}");
        assert_eq!(problem["may_be_running"], may_be_running, "{name}: {problem}");
        assert!(!problem.to_string().contains(DAEMON), "{name}: {problem}");
        let carried = head.extensions.get::<Error>().map(ToString::to_string);
        assert_eq!(carried, Some(message), "{name}");
    }
}

#[tokio::test]
async fn response_carries_the_error_and_its_causes() {
    let cause = std::io::Error::other("the cause");
    let response = handle_error(cause.into()).await.into_response();
    let error = response.extensions().get::<Error>().unwrap();
    assert_eq!(std::error::Error::source(error).map(ToString::to_string).as_deref(), Some("the cause"));
}
