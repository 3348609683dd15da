//! The list of the daemons that share a queue.

use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon};
use serde_json::{Value, json};

use super::eventually::bounded;
use super::gate::Gate;
use super::raw::{get, submit};
use super::several_backends::Fake;

/// The daemons that a daemon lists.
pub(crate) async fn boxes(daemon: &Daemon) -> Vec<Value> {
    let response = get(daemon, "/api/boxes", &[]).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["boxes"].as_array().unwrap().clone()
}

/// A daemon with one job that runs and one that waits, and a backend of models.
async fn loaded(builder: Builder) -> (Gate, Daemon) {
    let (gate, backend): (Gate, Backend) = Gate::new();
    let backends = [backend.name("gate"), Fake::new("gpu", &["a", "b"]).backend()];
    let builder = builder.backends(backends).accept_unlisted_models(true).drain(Duration::ZERO);
    let daemon = builder.start().await.unwrap();
    (gate, daemon)
}

#[tokio::test]
async fn daemon_with_a_queue_of_its_own_lists_itself() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [Daemon::builder(), Daemon::builder().store(folder.path().join("jobs.db"))] {
        let (_gate, daemon) = loaded(builder.token("hush")).await;
        get(&daemon, "/api/boxes", &[]).await.refused(401);
        let listed = async {
            loop {
                let response = get(&daemon, "/api/boxes", &["Authorization: Bearer hush"]).await.json();
                if response["boxes"][0]["backends"][1]["models"].is_array() {
                    return response;
                }
            }
        };
        let listed = bounded(listed).await;
        let [one] = &listed["boxes"].as_array().unwrap()[..] else { panic!("{listed}") };
        assert_eq!(one["name"], daemon.local_addr().to_string());
        assert_eq!(one["backends"][1], json!({ "name": "gpu", "models": ["a", "b"] }));
        assert_eq!((&one["lease_seconds"], &one["answering"]), (&Value::Null, &true.into()));
        assert_eq!((&one["draining"], &one["running_jobs"]), (&false.into(), &0.into()));
        assert!(one["started_at"].is_string() && one["id"].is_string(), "{one}");
    }
}

#[tokio::test]
async fn running_jobs_are_counted() {
    let (gate, backend): (Gate, Backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).drain(Duration::ZERO).start().await.unwrap();
    for _ in 0..2 {
        submit(&daemon, "go").await;
    }
    gate.begun().await;
    assert_eq!(boxes(&daemon).await[0]["running_jobs"], 1);
}
