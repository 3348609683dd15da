//! Restarts of a daemon with a file.

use std::path::Path;
use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon};

use super::gate::Gate;
use super::raw::{accepted, delete, ended, get, post, status, submit, submit_to};
use super::receiver::Receiver;
use crate::eventually::bounded;

/// A daemon whose shutdown does not wait for jobs.
fn stored(folder: &Path) -> Builder {
    Daemon::builder().store(folder.join("jobs.db")).drain(Duration::ZERO).webhook_retries([Duration::ZERO; 40])
}

async fn gated(folder: &Path) -> (Gate, Daemon) {
    let (gate, backend): (Gate, Backend) = Gate::new();
    (gate, stored(folder).backend(backend).start().await.unwrap())
}

#[tokio::test]
async fn jobs_survive_restart_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (gate, daemon) = gated(folder.path()).await;
    let (first, second, third) =
        (submit(&daemon, "one").await, submit(&daemon, "two").await, submit(&daemon, "three").await);
    gate.begun().await;
    assert_eq!(delete(&daemon, &format!("/jobs/{second}")).await.status, 202);
    daemon.shutdown().await;

    let (gate, daemon) = gated(folder.path()).await;
    let chat = gate.begun().await;
    assert_eq!((chat.job_id().as_str(), chat.attempt()), (first.as_str(), 2));
    assert_eq!(chat.messages()[0].as_json(), r#"{"role":"user","content":"one"}"#);
    assert_eq!(status(&daemon, &third).await["position"], 1);
    gate.open(2);
    let chat = gate.begun().await;
    assert_eq!((chat.job_id().as_str(), chat.attempt()), (third.as_str(), 1));
    for (id, state) in [(&first, "done"), (&second, "failed"), (&third, "done")] {
        assert_eq!(ended(&daemon, id).await["state"], state);
    }
    let before = ended(&daemon, &first).await;
    daemon.shutdown().await;

    let daemon = stored(folder.path()).start().await.unwrap();
    assert_eq!(status(&daemon, &first).await, before);
    assert_eq!(get(&daemon, "/jobs", &[]).await.json()["jobs"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn idempotency_key_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (key, body) = ("Idempotency-Key: 7f3a", r#"{"model":"m","messages":[]}"#);
    let daemon = stored(folder.path()).start().await.unwrap();
    let id = accepted(&post(&daemon, "/jobs", &[key], body).await);
    ended(&daemon, &id).await;
    daemon.shutdown().await;

    let daemon = stored(folder.path()).start().await.unwrap();
    assert_eq!(accepted(&post(&daemon, "/jobs", &[key], body).await), id);
    post(&daemon, "/jobs", &[key], r#"{"model":"other"}"#).await.refused(422);
    assert_eq!(daemon.stats().executions, 0);
}

#[tokio::test]
async fn undelivered_events_are_sent_after_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&["204 No Content", "", "503 Service Unavailable"]).await;
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{}"}}"#, receiver.url);
    let (gate, daemon) = gated(folder.path()).await;
    let traced = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let id = accepted(&post(&daemon, "/jobs", &[traced], &body).await);
    gate.begun().await;
    let (queued, running) = (receiver.event().await, receiver.event().await);
    assert_eq!((queued.state().as_str(), running.state().as_str()), ("queued", "running"));
    // Dropped without a shutdown: whether the event in flight was delivered is unknown.
    drop(daemon);
    gate.dropped().await;

    let locked = format!("store {} is in use by another daemon", folder.path().join("jobs.db").display());
    let again = async {
        loop {
            // The file is unlocked when the first daemon's last task has ended.
            match stored(folder.path()).start().await {
                Ok(daemon) => return daemon,
                Err(error) => assert_eq!(error.to_string(), locked),
            }
            tokio::task::yield_now().await;
        }
    };
    let daemon = bounded(again).await;
    assert_eq!(ended(&daemon, &id).await["attempt"], 2);
    let mut states = Vec::new();
    let last = loop {
        let event = receiver.event().await;
        states.push((event.state(), event.json()["attempt"].as_u64().unwrap()));
        if event.state() == "done" {
            break event;
        }
    };
    states.dedup();
    let expected = [("running", 1), ("queued", 1), ("running", 2), ("done", 2)];
    assert_eq!(states, expected.map(|(state, attempt)| (state.to_owned(), attempt)));
    assert_eq!(last.json(), status(&daemon, &id).await);
    assert_eq!(format!("traceparent: {}", last.header("traceparent")), traced);
}

#[tokio::test]
async fn event_is_not_resent_while_its_delivery_cannot_be_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&[]).await;
    let daemon = stored(folder.path()).start().await.unwrap();
    let disk = rusqlite::Connection::open(folder.path().join("jobs.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'full'); END";
    disk.execute_batch(full).unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    assert_eq!(receiver.event().await.state(), "queued");
    ended(&daemon, &id).await;
    // Each submission is ordered after earlier changes of the store.
    for _ in 0..20 {
        submit(&daemon, "other").await;
    }
    disk.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(receiver.states(2).await, ["running", "done"]);
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn file_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path()).start().await.unwrap();
    let error = stored(folder.path()).start().await.unwrap_err();
    assert!(error.is_store() && !error.is_invalid_config());
    let path = folder.path().join("jobs.db");
    assert_eq!(error.to_string(), format!("store {} is in use by another daemon", path.display()));
    // The first daemon is not affected.
    let id = submit(&first, "go").await;
    assert_eq!(ended(&first, &id).await["state"], "done");
    first.shutdown().await;
    stored(folder.path()).start().await.unwrap();
}

#[tokio::test]
async fn damaged_job_fails_with_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start(&["204 No Content", "204 No Content"]).await;
    let (gate, daemon) = gated(folder.path()).await;
    let runs = submit(&daemon, "runs").await;
    gate.begun().await;
    let bad = submit_to(&daemon, &receiver.url).await;
    let good = submit(&daemon, "good").await;
    assert_eq!(receiver.event().await.state(), "queued");
    daemon.shutdown().await;

    let file = rusqlite::Connection::open(folder.path().join("jobs.db")).unwrap();
    assert_eq!(file.execute("UPDATE jobs SET body = x'7b' WHERE id = ?", [&bad]).unwrap(), 1);
    drop(file);

    let daemon = stored(folder.path()).start().await.unwrap();
    let job = ended(&daemon, &bad).await;
    assert_eq!(job["error"], "submission damaged in the store");
    assert_eq!((&job["state"], &job["attempt"]), (&"failed".into(), &0.into()));
    for id in [&runs, &good] {
        assert_eq!(ended(&daemon, id).await["state"], "done");
    }
    assert_eq!(receiver.event().await.json(), job);
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}
