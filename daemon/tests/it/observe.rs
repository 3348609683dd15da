//! Health and metrics.

use std::time::Duration;

use foreman_daemon::{Backend, BoxError, Chat, ChatResponse, Daemon, ListModels, ModelInfo, Unavailable};
use serde_json::json;
use tower::{Service, service_fn};

use super::gate::Gate;
use super::raw::{delete, ended, exchange, get, request, submit};
use crate::eventually::bounded;

#[tokio::test]
async fn only_health_needs_no_token() {
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    let response = get(&daemon, "/healthz", &[]).await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ok"})));
    for path in ["/metrics", "/jobs", "/nowhere", "/healthz/"] {
        get(&daemon, path, &[]).await.refused(401);
    }
    let response = exchange(&daemon, request("POST", "/healthz", &[], "")).await;
    assert_eq!(response.refused(405), "method not allowed");
}

#[tokio::test]
async fn locked_store_is_alive_and_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let daemon = Daemon::builder().token("hush").store(&file).start().await.unwrap();
    let response = get(&daemon, "/readyz", &[]).await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ready"})));
    let lock = rusqlite::Connection::open(&file).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let response = get(&daemon, "/readyz", &[]).await;
    assert_eq!((response.status, response.json()), (503, json!({"status": "not ready", "problems": ["store"]})));
    assert_eq!(get(&daemon, "/healthz", &[]).await.status, 200);
    lock.execute_batch("COMMIT").unwrap();
    assert_eq!(get(&daemon, "/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn daemon_without_its_backend_is_not_ready() {
    let backend = Backend::new(service_fn(async |_: Chat| Err::<ChatResponse, _>(Unavailable::new("no GPU"))));
    let daemon = Daemon::builder().backend(backend.models(down())).start().await.unwrap();
    assert_eq!(get(&daemon, "/readyz", &[]).await.status, 200);
    let id = submit(&daemon, "a").await;
    let not_ready = async {
        while get(&daemon, "/readyz", &[]).await.status == 200 {
            tokio::task::yield_now().await;
        }
    };
    bounded(not_ready).await;
    let response = get(&daemon, "/readyz", &[]).await;
    let expected = json!({"status": "not ready", "problems": ["backend"], "unavailable_backends": ["default"]});
    assert_eq!((response.status, response.json()), (503, expected));
    let metrics = get(&daemon, "/metrics", &[]).await.body;
    assert!(metrics.contains("\nforeman_backend_available{backend=\"default\"} 0\n"), "{metrics}");
    assert_eq!(delete(&daemon, &format!("/jobs/{id}")).await.status, 202);
}

/// A list of models that is not available either.
fn down() -> impl Service<ListModels, Response = Vec<ModelInfo>, Error = BoxError, Future: Send> + Clone + Send + Sync {
    service_fn(async |_: ListModels| Err(BoxError::from("no GPU")))
}

#[tokio::test]
async fn metrics_count_jobs() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "a").await;
    ended(&daemon, &id).await;
    let response = get(&daemon, "/metrics", &[]).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    for line in ["foreman_accepted_total 1", "foreman_executions_total 1", "foreman_polls_total 1"] {
        assert!(response.body.lines().any(|is| is == line), "no {line} in {}", response.body);
    }
}

#[tokio::test]
async fn metrics_need_token() {
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    get(&daemon, "/metrics", &[]).await.refused(401);
    let response = get(&daemon, "/metrics", &["Authorization: Bearer hush"]).await;
    assert!(response.body.contains("foreman_accepted_total 0\n"), "{response:?}");
}

/// The number of queued and of running jobs.
async fn load(daemon: &Daemon) -> (u64, u64) {
    let response = get(daemon, "/metrics", &[]).await;
    let gauge = |name| response.body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
    (gauge("foreman_queued_jobs"), gauge("foreman_running_jobs"))
}

#[tokio::test]
async fn gauges_follow_cancellations_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let stored = || Daemon::builder().store(folder.path().join("jobs.db"));
    for builder in [Daemon::builder(), stored()] {
        let (gate, backend) = Gate::new();
        let daemon = builder.workers(2).drain(Duration::ZERO).backend(backend).start().await.unwrap();
        assert_eq!(load(&daemon).await, (0, 0));
        let mut ids = Vec::new();
        for text in ["a", "b", "c", "d", "e"] {
            ids.push(submit(&daemon, text).await);
        }
        for _ in 0..2 {
            gate.begun().await;
        }
        assert_eq!(load(&daemon).await, (3, 2));
        // Cancels a queued job, then a running one, whose worker takes the next job.
        delete(&daemon, &format!("/jobs/{}", ids[3])).await;
        assert_eq!(load(&daemon).await, (2, 2));
        delete(&daemon, &format!("/jobs/{}", ids[0])).await;
        gate.begun().await;
        assert_eq!(load(&daemon).await, (1, 2));
        daemon.shutdown().await;
    }

    let (gate, backend) = Gate::new();
    let daemon = stored().backend(backend).start().await.unwrap();
    gate.begun().await;
    assert_eq!(load(&daemon).await, (2, 1));
    gate.open(3);
    for _ in 0..2 {
        gate.begun().await;
    }
    let idle = async {
        while load(&daemon).await != (0, 0) {
            tokio::task::yield_now().await;
        }
    };
    bounded(idle).await;
}
