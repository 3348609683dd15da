//! A network that is cut between one daemon and the database.

use std::time::Duration;

use foreman_daemon::{Backend, Daemon};

use super::database_proxy::DatabaseProxy;
use super::fleet::gauge;
use super::gate::Gate;
use super::postgres_server::server;
use super::raw::{get, post, submit_to};
use super::receiver::Receiver;
use crate::eventually::{bounded, eventually};

/// Short, so that the test is, and longer than a loaded machine holds a renewal up.
const LEASE: Duration = Duration::from_secs(3);

const SUBMISSION: &str = r#"{"model":"m","messages":[]}"#;

async fn gated(url: &str) -> (Gate, Daemon) {
    let (gate, backend): (Gate, Backend) = Gate::new();
    let daemon = Daemon::builder().postgres(url).lease(LEASE).drain(Duration::ZERO).loopback_webhooks(true);
    (gate, daemon.backend(backend).start().await.unwrap())
}

/// Reads the status of a job, until the daemon reaches the database and the job has ended.
async fn done(daemon: &Daemon, job: &str) -> serde_json::Value {
    loop {
        let response = get(daemon, &format!("/jobs/{job}"), &["Prefer: wait=60"]).await;
        if response.status == 200 && response.json()["state"] == "done" {
            return response.json();
        }
    }
}

#[tokio::test]
async fn daemon_that_is_cut_off_stops_its_runs_another_runs_them_and_it_works_again() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let proxy = DatabaseProxy::start(&url);
    let mut receiver = Receiver::start(&[]).await;
    let (gate, daemon) = gated(&proxy.url(&url)).await;
    let job = submit_to(&daemon, &receiver.url).await;
    assert_eq!(bounded(gate.begun()).await.attempt(), 1);
    let (other_gate, other) = gated(&url).await;

    proxy.cut_off();
    bounded(gate.dropped()).await;
    // Nothing runs here, and the database cannot be told.
    bounded(async { while gauge(&daemon, "foreman_running_jobs").await > 0.0 {} }).await;
    let chat = bounded(other_gate.begun()).await;
    assert_eq!((chat.job_id().as_str(), chat.attempt()), (job.as_str(), 2));

    proxy.restore();
    let accepted = async {
        loop {
            let response = post(&daemon, "/jobs", &[], SUBMISSION).await;
            if response.status == 202 {
                return response.json()["job_id"].as_str().unwrap().to_owned();
            }
        }
    };
    let next = bounded(accepted).await;
    // The only worker of the other daemon is busy.
    let chat = bounded(gate.begun()).await;
    assert_eq!((chat.job_id().as_str(), chat.attempt()), (next.as_str(), 1));
    gate.open(1);
    other_gate.open(1);
    let (one, two) = (bounded(done(&daemon, &job)).await, bounded(done(&other, &job)).await);
    assert_eq!((&one["attempt"], &one["result"]), (&2.into(), &"passed".into()));
    assert_eq!(one, two);
    assert_eq!(bounded(done(&other, &next)).await["attempt"], 1);

    // Each event at least once, in order.
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != "done") {
        let event = bounded(receiver.event()).await;
        states.push(event.state());
    }
    states.dedup();
    assert_eq!(states, ["queued", "running", "queued", "running", "done"]);
    let left = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM outbox)";
    eventually("sent all events", || server.sql_in(&url, left) == "0").await;
    assert!(!gate.has_begun().await && !other_gate.has_begun().await);
}
