//! The list of the daemons that share a queue.

use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon};
use serde_json::{Value, json};

use super::eventually::bounded;
use super::gate::Gate;
use super::raw::{RawResponse, ended, exchange, get, request, submit};
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
        assert_eq!(one["backends"][1], json!({ "name": "gpu", "models": ["a", "b"], "loaded": null }));
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

/// Drains a daemon (`PUT`), or undoes it (`DELETE`), through another one.
pub(crate) async fn drain(daemon: &Daemon, method: &str, id: &str, token: Option<&str>) -> RawResponse {
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    exchange(daemon, request(method, &format!("/api/boxes/{id}/drain"), &headers, "")).await
}

#[tokio::test]
async fn drained_daemon_finishes_its_jobs_and_takes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [Daemon::builder(), Daemon::builder().store(folder.path().join("jobs.db"))] {
        let (gate, backend): (Gate, Backend) = Gate::new();
        let daemon = builder.workers(2).backend(backend).drain(Duration::ZERO).start().await.unwrap();
        let first = submit(&daemon, "go").await;
        gate.begun().await;
        let id = boxes(&daemon).await[0]["id"].as_str().unwrap().to_owned();
        let drained = drain(&daemon, "PUT", &id, None).await.json();
        assert_eq!((&drained["draining"], &drained["running_jobs"]), (&true.into(), &1.into()));
        let second = submit(&daemon, "go").await;
        gate.open(1);
        assert_eq!(ended(&daemon, &first).await["state"], "done");
        assert_eq!(boxes(&daemon).await[0]["draining"], true);
        let ready = get(&daemon, "/readyz", &[]).await;
        let problem = json!({ "status": "not ready", "problems": ["draining"], "draining": true });
        assert_eq!((ready.status, ready.json()), (503, problem));
        let metrics = get(&daemon, "/metrics", &[]).await.body;
        assert!(metrics.contains("foreman_boxes 1\n") && metrics.contains("foreman_draining 1\n"), "{metrics}");
        assert!(!metrics.contains("foreman_lease_seconds"), "{metrics}");
        assert!(!gate.has_begun().await);
        gate.open(1);
        assert_eq!(drain(&daemon, "DELETE", &id, None).await.json()["draining"], false);
        assert_eq!(ended(&daemon, &second).await["state"], "done");
    }
}

#[tokio::test]
async fn draining_needs_the_admin_token() {
    let none = "this needs an admin token, and the daemon has none: set --admin-token-file or FOREMAN_ADMIN_TOKEN of foreman serve";
    let other = "this needs the admin token of the daemon";
    let unknown = "missing or unknown bearer token";
    let open = || Daemon::builder().allow_anonymous(true);
    for (builder, token, expected) in [
        (Daemon::builder(), None, Ok(())),
        (Daemon::builder().admin_token("root"), None, Err((403, other))),
        (Daemon::builder().admin_token("root"), Some("root"), Ok(())),
        (open(), None, Err((403, none))),
        (open().admin_token("root"), None, Err((403, other))),
        (open().admin_token("root"), Some("root"), Ok(())),
        (Daemon::builder().token("user"), None, Err((401, unknown))),
        (Daemon::builder().token("user"), Some("user"), Err((403, none))),
        (Daemon::builder().token("user").admin_token("root"), Some("user"), Err((403, other))),
        (Daemon::builder().token("user").admin_token("root"), Some("other"), Err((401, unknown))),
        (Daemon::builder().token("user").admin_token("root"), Some("root"), Ok(())),
    ] {
        let daemon = builder.start().await.unwrap();
        let header = format!("Authorization: Bearer {}", token.unwrap_or("user"));
        let listed = get(&daemon, "/api/boxes", &[&header]).await;
        let id = match listed.status {
            200 => listed.json()["boxes"][0]["id"].as_str().unwrap().to_owned(),
            _ => "0".to_owned(),
        };
        for method in ["PUT", "DELETE"] {
            let response = drain(&daemon, method, &id, token).await;
            match expected {
                Ok(()) => assert_eq!(response.status, 200, "{response:?}"),
                Err((status, reason)) => assert_eq!(response.refused(status), reason),
            }
        }
    }
}

#[tokio::test]
async fn admin_token_is_good_for_nothing_else() {
    let daemon = Daemon::builder().token("user").admin_token("root").start().await.unwrap();
    let admin = ["Authorization: Bearer root"];
    assert_eq!(get(&daemon, "/api/boxes", &admin).await.status, 200);
    for path in ["/jobs", "/metrics", "/api/tags", "/events", "/nowhere"] {
        get(&daemon, path, &admin).await.refused(401);
    }
    for id in ["0", "5b0c8d1e-3f7a-4c55-9d7e-0a6f1a2b3c4d"] {
        assert_eq!(drain(&daemon, "PUT", id, Some("root")).await.refused(404), "box not found");
    }
    drain(&daemon, "POST", "0", Some("root")).await.refused(405);
    for (admin, reason) in [
        ("user", "invalid admin_token: must differ from the other tokens"),
        ("", "invalid admin_token: must not be empty"),
        ("a b", "invalid admin_token: must be visible ASCII without blanks"),
    ] {
        let error = Daemon::builder().token("user").admin_token(admin).start().await.unwrap_err();
        assert_eq!(error.to_string(), reason);
    }
}
