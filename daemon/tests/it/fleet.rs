//! What the daemons of a fleet know of each other.

use std::time::Duration;

use foreman_daemon::{Backend, BoxError, Builder, Daemon, Echo, ListModels, ModelInfo};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::service_fn;

use super::boxes::{boxes, drain};
use super::eventually::bounded;
use super::gate::Gate;
use super::postgres_server::{PostgresServer, server};
use super::raw::{RawResponse, accepted, ended, get, post, submit_to};
use super::receiver::Receiver;
use super::several_backends::Fake;

/// A daemon whose lists are refreshed at once.
fn shared(url: &str, name: &str) -> Builder {
    let builder = Daemon::builder().postgres(url).name(name).backend(Echo::new());
    builder.drain(Duration::ZERO).model_refresh(Duration::from_millis(5))
}

async fn submit(daemon: &Daemon, model: &str) -> RawResponse {
    post(daemon, "/jobs", &[], &json!({ "model": model, "messages": [] }).to_string()).await
}

/// The models, with the daemons and backends that have them.
async fn models(daemon: &Daemon) -> Vec<String> {
    let listed = get(daemon, "/api/tags", &[]).await.json();
    let line = |model: &Value| format!("{} {} {}", model["name"], model["boxes"], model["backends"]);
    listed["models"].as_array().unwrap().iter().map(line).collect()
}

/// Waits until the daemon lists these models.
async fn until_models(daemon: &Daemon, expected: &[&str]) {
    let looking = async { while models(daemon).await != expected {} };
    bounded(looking).await;
}

#[tokio::test]
async fn job_is_accepted_anywhere_and_runs_where_its_model_is() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (a, b, c) = (Fake::new("gpu", &["a", "both"]), Fake::new("one", &["b"]), Fake::new("two", &["both"]));
    let left = shared(&url, "left").backend(a.backend()).start().await.unwrap();
    let right = shared(&url, "right").backends([b.backend(), c.backend()]).start().await.unwrap();
    let all = [
        r#""a" ["left"] ["left/gpu"]"#,
        r#""both" ["left","right"] ["left/gpu","right/two"]"#,
        r#""b" ["right"] ["right/one"]"#,
    ];
    until_models(&left, &all).await;
    for (model, backend) in [("a", "gpu"), ("b", "one"), ("b:latest", "one")] {
        for daemon in [&left, &right] {
            // Either of them could take it first.
            let job = accepted(&submit(daemon, model).await);
            assert_eq!(ended(daemon, &job).await["result"], backend, "{model}");
        }
    }
    for daemon in [&left, &right] {
        assert_eq!(submit(daemon, "new").await.refused(422), "no backend has the model new");
    }
    // A request for embeddings is not a job, and goes to the backends of its daemon only.
    let embed = post(&left, "/api/embed", &[], r#"{"model":"b","input":"x"}"#).await;
    assert_eq!(embed.refused(422), "no backend of this box has the model b; box right has it");
    // Somebody installs it.
    b.models.lock().unwrap().push("new");
    let job = bounded(async {
        loop {
            let response = submit(&left, "new").await;
            if response.status != 422 {
                return accepted(&response);
            }
        }
    });
    assert_eq!(ended(&left, &job.await).await["result"], "one");
    // Its daemon may be back soon.
    right.shutdown().await;
    until_models(&left, &[r#""a" ["left"] ["left/gpu"]"#, r#""both" ["left"] ["left/gpu"]"#]).await;
    let refused = submit(&left, "b").await;
    assert_eq!((refused.status, refused.asks_to_wait(10)), (503, true), "{refused:?}");
    assert!(refused.json()["error"].as_str().unwrap().contains("box right, which is down"), "{refused:?}");
    submit(&left, "unknown").await.refused(422);
}

#[tokio::test]
async fn daemon_that_has_not_listed_its_models_may_have_any() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let left = shared(&url, "left").backend(Fake::new("gpu", &["a"]).backend()).start().await.unwrap();
    until_models(&left, &[r#""a" ["left"] ["left/gpu"]"#]).await;
    submit(&left, "b").await.refused(422);
    let (listed, list) = watch::channel(false);
    let slow = service_fn(move |_: ListModels| {
        let mut list = list.clone();
        async move {
            list.wait_for(|listed| *listed).await?;
            Ok::<_, BoxError>(vec![ModelInfo::new("b")])
        }
    });
    let (gate, backend): (Gate, Backend) = Gate::new();
    let _right = shared(&url, "right").backend(backend.models(slow)).start().await.unwrap();
    let accepted = async { while submit(&left, "b").await.status != 202 {} };
    bounded(accepted).await;
    // It runs none before.
    listed.send_replace(true);
    assert_eq!(bounded(gate.begun()).await.model(), "b");
}

#[tokio::test]
async fn without_the_database_a_daemon_lists_its_own_models_and_refuses_none_for_good() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let lease = Duration::from_secs(1);
    let start = async |name, model| {
        shared(&url, name).lease(lease).backend(Fake::new("gpu", &[model]).backend()).start().await.unwrap()
    };
    let (left, _right) = (start("left", "a").await, start("right", "b").await);
    until_models(&left, &[r#""a" ["left"] ["left/gpu"]"#, r#""b" ["right"] ["right/gpu"]"#]).await;
    server.stop();
    until_models(&left, &[r#""a" null null"#]).await;
    for model in ["a", "b", "new"] {
        let refused = submit(&left, model).await;
        assert_eq!((refused.status, refused.asks_to_wait(10)), (503, true), "{model} {refused:?}");
    }
    server.up();
    until_models(&left, &[r#""a" ["left"] ["left/gpu"]"#, r#""b" ["right"] ["right/gpu"]"#]).await;
}

#[tokio::test]
async fn each_daemon_lists_all_and_says_which_it_is() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (gate, backend): (Gate, Backend) = Gate::new();
    let left = shared(&url, "left").backend(backend).start().await.unwrap();
    accepted(&submit(&left, "m").await);
    gate.begun().await;
    let right = shared(&url, "right").backend(Fake::new("gpu", &["a"]).backend()).start().await.unwrap();
    until_models(&left, &[r#""a" ["right"] ["right/gpu"]"#]).await;
    for (daemon, answering) in [(&left, [true, false]), (&right, [false, true])] {
        let listed = boxes(daemon).await;
        let field = |name: &str| listed.iter().map(|one| one[name].clone()).collect::<Vec<_>>();
        assert_eq!(
            (field("name"), field("answering")),
            (vec!["left".into(), "right".into()], answering.map(Value::from).to_vec())
        );
        assert_eq!((field("running_jobs"), field("draining")), (vec![1.into(), 0.into()], vec![false.into(); 2]));
        assert_eq!(field("backends")[1], json!([{ "name": "gpu", "models": ["a"], "loaded": null }]));
        assert!(field("lease_seconds").iter().all(|left| (0.0..=30.0).contains(&left.as_f64().unwrap())), "{listed:?}");
    }
}

#[tokio::test]
async fn daemon_with_other_options_is_listed_with_their_names() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let both = |name| shared(&url, name).token("a").webhook_secret("s");
    let left = both("left").start().await.unwrap();
    let equal = both("equal").start().await.unwrap();
    let other = both("other").token("b").max_queue(5).max_queue_per_token(9_999).keep(Duration::from_secs(7));
    let other = other.webhook_secret("t").start().await.unwrap();
    let names = json!(["keep", "max_queue", "max_queue_per_token", "token", "webhook_secret"]);
    for (daemon, expected) in [(&left, [None, None, Some(&names)]), (&other, [Some(&names), Some(&names), None])] {
        let response = get(daemon, "/api/boxes", &["Authorization: Bearer a"]).await;
        let boxes = response.json();
        let listed: Vec<_> =
            boxes["boxes"].as_array().unwrap().iter().map(|one| one.get("different_options")).collect();
        assert_eq!(listed, expected, "{response:?}");
    }
    drop(equal);
}

#[tokio::test]
async fn daemons_are_not_listed_without_the_database() {
    let Some(server) = PostgresServer::start() else { return };
    let daemon = shared(&server.schema(), "left").start().await.unwrap();
    server.stop();
    let refused = get(&daemon, "/api/boxes", &[]).await;
    assert_eq!((refused.status, refused.asks_to_wait(10)), (503, true), "{refused:?}");
}

#[tokio::test]
async fn drained_daemon_leaves_jobs_to_others() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let start = async |name| {
        let (gate, backend): (Gate, Backend) = Gate::new();
        (gate, shared(&url, name).backend(backend).workers(2).start().await.unwrap())
    };
    let (left_gate, left) = start("left").await;
    let first = accepted(&submit(&left, "m").await);
    left_gate.begun().await;
    let (right_gate, right) = start("right").await;
    let id = boxes(&right).await[0]["id"].as_str().unwrap().to_owned();
    let drained = drain(&right, "PUT", &id, None).await.json();
    assert_eq!((&drained["name"], &drained["draining"]), (&"left".into(), &true.into()));
    // Two workers of the other daemon.
    for _ in 0..2 {
        accepted(&submit(&left, "m").await);
        bounded(right_gate.begun()).await;
    }
    let last = accepted(&submit(&left, "m").await);
    left_gate.open(2);
    assert_eq!(bounded(ended(&left, &first)).await["state"], "done");
    assert_eq!(get(&left, &format!("/jobs/{last}"), &[]).await.json()["state"], "queued");
    assert!(!left_gate.has_begun().await);
    assert_eq!(drain(&right, "DELETE", &id, None).await.json()["draining"], false);
    assert_eq!(bounded(ended(&right, &last)).await["state"], "done");
}

#[tokio::test]
async fn running_job_names_its_daemon_and_webhooks_do_not() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (gate, backend): (Gate, Backend) = Gate::new();
    let left = shared(&url, "left").loopback_webhooks(true).backend(backend).start().await.unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let job = submit_to(&left, &receiver.url).await;
    gate.begun().await;
    let right = shared(&url, "right").backend(Fake::new("gpu", &["a"]).backend()).start().await.unwrap();
    assert_eq!(get(&right, &format!("/jobs/{job}"), &[]).await.json()["box_name"], "left");
    assert_eq!(get(&right, "/jobs", &[]).await.json()["jobs"][0]["box_name"], "left");
    gate.open(1);
    assert_eq!(bounded(ended(&right, &job)).await.get("box_name"), None);
    for state in ["queued", "running", "done"] {
        let event = bounded(receiver.event()).await;
        assert_eq!((event.state().as_str(), event.json().get("box_name")), (state, None));
    }
}

/// The value of a gauge.
pub(crate) async fn gauge(daemon: &Daemon, name: &str) -> f64 {
    let metrics = get(daemon, "/metrics", &[]).await.body;
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

#[tokio::test]
async fn drained_daemon_is_ready_while_another_takes_its_jobs() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let left = shared(&url, "left").start().await.unwrap();
    let right = shared(&url, "right").start().await.unwrap();
    let listed = boxes(&left).await;
    let id = |index: usize| listed[index]["id"].as_str().unwrap();
    drain(&right, "PUT", id(0), None).await;
    // Each of them hears of it.
    let heard = async {
        while gauge(&left, "foreman_draining ").await < 1.0 || gauge(&right, "foreman_draining_boxes").await < 1.0 {}
    };
    bounded(heard).await;
    assert_eq!((gauge(&right, "foreman_boxes").await, gauge(&right, "foreman_draining ").await), (2.0, 0.0));
    let left_seconds = gauge(&left, "foreman_lease_seconds").await;
    assert!(left_seconds > 0.0 && left_seconds <= 30.0, "{left_seconds}");
    let ready = get(&left, "/readyz", &[]).await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "status": "ready", "draining": true })));
    drain(&left, "PUT", id(1), None).await;
    let not_ready = async { while get(&left, "/readyz", &[]).await.status == 200 {} };
    bounded(not_ready).await;
    assert_eq!(get(&left, "/readyz", &[]).await.json()["problems"], json!(["draining"]));
}

#[tokio::test]
async fn lost_lease_is_a_problem() {
    let Some(server) = PostgresServer::start() else { return };
    let daemon = shared(&server.schema(), "left").lease(Duration::from_secs(1)).start().await.unwrap();
    assert_eq!(get(&daemon, "/readyz", &[]).await.status, 200);
    server.stop();
    let lost = async { while gauge(&daemon, "foreman_lease_seconds").await > 0.0 {} };
    bounded(lost).await;
    let lost = async { while get(&daemon, "/readyz", &[]).await.json()["problems"] != json!(["store", "lease"]) {} };
    bounded(lost).await;
    server.up();
    let ready = async { while get(&daemon, "/readyz", &[]).await.status != 200 {} };
    bounded(ready).await;
}
