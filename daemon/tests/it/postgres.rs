//! Daemons that share a database.

use std::time::Duration;

use foreman_daemon::{Backend, Builder, Daemon, Echo};

use super::gate::Gate;
use super::postgres_server::{PostgresServer, server};
use super::raw::{delete, ended, get, post, status, submit, submit_to};
use super::receiver::Receiver;
use crate::eventually::bounded;

const SUBMISSION: &str = r#"{"model":"m","messages":[]}"#;

/// A daemon whose shutdown does not wait for jobs.
fn shared(url: &str) -> Builder {
    Daemon::builder().postgres(url).backend(Echo::new()).drain(Duration::ZERO).loopback_webhooks(true)
}

async fn gated(url: &str) -> (Gate, Daemon) {
    let (gate, backend): (Gate, Backend) = Gate::new();
    (gate, shared(url).backend(backend).start().await.unwrap())
}

/// The daemon's only worker is busy with a job of its own, so that it leaves others to the rest of the fleet.
async fn busy(url: &str) -> (Gate, Daemon) {
    let (gate, daemon) = gated(url).await;
    submit(&daemon, "mine").await;
    gate.begun().await;
    (gate, daemon)
}

#[tokio::test]
async fn job_of_one_daemon_runs_at_another_and_both_answer_for_it() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (_held, front) = busy(&url).await;
    let (gate, back) = gated(&url).await;
    let mut receiver = Receiver::start(&[]).await;
    let job = submit_to(&front, &receiver.url).await;
    assert_eq!(bounded(gate.begun()).await.job_id().as_str(), job);
    let polls = async {
        tokio::join!(ended(&front, &job), ended(&back, &job), async {
            gate.open(1);
        })
    };
    let (one, other, ()) = bounded(polls).await;
    assert_eq!((&one["state"], &one["result"]), (&"done".into(), &"passed".into()));
    assert_eq!(one, other);
    for state in ["queued", "running", "done"] {
        assert_eq!(bounded(receiver.event()).await.state(), state);
    }
}

#[tokio::test]
async fn cancellation_at_one_daemon_stops_the_run_at_another() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (_held, front) = busy(&url).await;
    let (gate, _back) = gated(&url).await;
    let job = submit(&front, "go").await;
    bounded(gate.begun()).await;
    assert_eq!(delete(&front, &format!("/jobs/{job}")).await.status, 202);
    bounded(gate.dropped()).await;
}

#[tokio::test]
async fn stopped_daemon_leaves_its_jobs_to_others_without_an_attempt() {
    let Some(server) = server() else { return };
    let url = server.schema();
    let (gate, stopped) = gated(&url).await;
    let job = submit(&stopped, "go").await;
    bounded(gate.begun()).await;
    let (other_gate, other) = gated(&url).await;
    stopped.shutdown().await;
    let chat = bounded(other_gate.begun()).await;
    assert_eq!((chat.job_id().as_str(), chat.attempt()), (job.as_str(), 2));
    other_gate.open(1);
    bounded(ended(&other, &job)).await;
    assert_eq!(server.sql_in(&url, "SELECT spent FROM jobs"), "1");
    assert_eq!(server.sql_in(&url, "SELECT count(*) FROM boxes"), "1");
}

#[tokio::test]
async fn running_job_outlives_an_outage_of_the_database_and_calls_are_asked_to_come_back() {
    let Some(server) = PostgresServer::start() else { return };
    let url = server.schema();
    let (gate, daemon) = gated(&url).await;
    let job = submit(&daemon, "go").await;
    bounded(gate.begun()).await;
    server.stop();
    for refused in [
        post(&daemon, "/jobs", &[], SUBMISSION).await,
        get(&daemon, &format!("/jobs/{job}"), &[]).await,
        get(&daemon, "/jobs", &[]).await,
        delete(&daemon, &format!("/jobs/{job}")).await,
    ] {
        assert_eq!((refused.status, refused.asks_to_wait(10)), (503, true), "{refused:?}");
    }
    let ready = get(&daemon, "/readyz", &[]).await;
    assert_eq!((ready.status, ready.json()["problems"][0].as_str()), (503, Some("store")));
    assert_eq!(get(&daemon, "/healthz", &[]).await.status, 200);
    // It ends while there is no database.
    gate.open(1);
    server.up();
    let done = async {
        loop {
            let response = get(&daemon, &format!("/jobs/{job}"), &["Prefer: wait=60"]).await;
            if response.status == 200 && response.json()["state"] == "done" {
                return response.json();
            }
        }
    };
    let done = bounded(done).await;
    assert_eq!((&done["attempt"], &done["result"]), (&1.into(), &"passed".into()));
    assert_eq!(status(&daemon, &job).await, done);
}

#[tokio::test]
async fn invalid_options_are_refused() {
    let refused = async |builder: Builder| builder.start().await.unwrap_err();
    let error = refused(shared("mysql://h/d")).await;
    assert!(
        error.to_string().starts_with("invalid postgres: must be a URL such as postgres://user@host/database"),
        "{error}"
    );
    let url = "postgres://user@%2Fnowhere/d";
    assert_eq!(refused(shared(url).store("jobs.db")).await.option(), Some("postgres"));
    assert_eq!(refused(Daemon::builder().postgres(url)).await.option(), Some("backends"));
    assert_eq!(refused(shared(url).lease(Duration::ZERO)).await.option(), Some("lease"));
    assert_eq!(refused(shared(url).postgres_roots("no")).await.option(), Some("postgres_roots"));
    assert!(refused(shared(url)).await.is_store());
}
