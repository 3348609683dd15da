//! What who watches over a daemon asks it.

use foreman_client::daemon::Daemon;
use serde_json::json;

use super::raw::{ended, exchange, get, request, submit};

#[tokio::test]
async fn health_is_told_without_a_token_and_nothing_else_is() {
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    let answer = get(&daemon, "/healthz", &[]).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    for path in ["/metrics", "/jobs", "/nowhere", "/healthz/"] {
        get(&daemon, path, &[]).await.refused(401);
    }
    let answer = exchange(&daemon, request("POST", "/healthz", &[], "")).await;
    assert_eq!(answer.refused(405), "not with this method");
}

#[tokio::test]
async fn metrics_count_what_was_done() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "a").await;
    ended(&daemon, &id).await;
    let answer = get(&daemon, "/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    for line in ["foreman_accepted_total 1", "foreman_executions_total 1", "foreman_polls_total 1"] {
        assert!(answer.body.lines().any(|is| is == line), "no {line} in {}", answer.body);
    }
}

#[tokio::test]
async fn metrics_need_the_token() {
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    get(&daemon, "/metrics", &[]).await.refused(401);
    let answer = get(&daemon, "/metrics", &["Authorization: Bearer hush"]).await;
    assert!(answer.body.contains("foreman_accepted_total 0\n"), "{answer:?}");
}
