use tokio::io::AsyncReadExt as _;

use super::{AxumHarness, CHAT, Settings, assert_result, problem, read};
use crate::raw::send;
use crate::support::{bounded, eventually, job_id};

#[tokio::test]
async fn job_limit_sheds_callers() {
    let harness = AxumHarness::with(|settings| Settings { jobs: 1, ..settings }).await;
    let first = harness.send("/chat", CHAT).await;
    let id = harness.gate.run_started().await.job_id().clone();
    for path in ["/chat", "/chat/events"] {
        let response = read(harness.send(path, CHAT).await).await;
        let problem = problem(&response, 503);
        assert_eq!((&problem["title"], &problem["may_be_running"]), (&"overloaded".into(), &false.into()));
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("foreman-job-id"), None);
    }
    assert_eq!(harness.daemon.stats().accepted, 1);
    harness.gate.open(1);
    assert_result(&read(first).await, &id);

    // The permit is free again.
    let next = harness.send("/chat", CHAT).await;
    let id = harness.gate.run_started().await.job_id().clone();
    harness.gate.open(1);
    assert_result(&read(next).await, &id);
    assert_eq!(harness.daemon.stats().executions, 2);
}

#[tokio::test]
async fn request_limit_sheds_callers_and_not_events() {
    let harness = AxumHarness::with(|settings| Settings { requests: 1, ..settings }).await;
    let first = harness.send("/chat", CHAT).await;
    let id = harness.gate.run_started().await.job_id().clone();
    let response = harness.get(&job_id("7")).await;
    assert_eq!(problem(&response, 503)["title"], "overloaded");
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(response.header("x-request-id").is_some());
    eventually("events are delivered", || harness.daemon.stats().webhooks_delivered == 2).await;
    harness.gate.open(1);
    assert_result(&read(first).await, &id);
    assert_eq!(harness.daemon.executions(&id).await, 1);
}

#[tokio::test(start_paused = true)]
async fn stalled_peers_are_disconnected() {
    let harness = AxumHarness::new().await;
    // The paused clock advances to the timeouts of the server.
    let mut head = send(harness.gateway.address, "POST /chat HT").await;
    let _ = bounded(head.read_to_end(&mut Vec::new())).await;
    let body = send(harness.gateway.address, "POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{").await;
    assert_eq!(read(body).await.status, 408);
    assert_eq!(harness.daemon.stats().accepted, 0);
}
