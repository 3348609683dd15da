use foreman_daemon::Daemon;

use super::gate::Gate;
use super::raw::{delete, ended, get, id, status, submit};

#[tokio::test]
async fn cancelled_queued_job_never_runs() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let first = submit(&daemon, "a").await;
    gate.begun().await;
    let second = submit(&daemon, "b").await;
    let third = submit(&daemon, "c").await;
    let response = delete(&daemon, &format!("/jobs/{second}")).await;
    assert_eq!(response.status, 202);
    let job = response.json();
    assert_eq!((&job["state"], &job["error"]), (&"failed".into(), &"cancelled".into()));
    assert!(job["completed_at"].is_string() && job["started_at"].is_null() && job.get("position").is_none());
    assert_eq!(status(&daemon, &third).await["position"], 1);
    gate.open(2);
    assert_eq!(gate.begun().await.job_id().as_str(), third);
    assert_eq!(ended(&daemon, &first).await["state"], "done");
    assert_eq!(ended(&daemon, &third).await["state"], "done");
    assert_eq!(status(&daemon, &second).await, job);
    assert_eq!((daemon.executions(&id(&second)).await, daemon.stats().cancelled), (0, 1));
}

#[tokio::test]
async fn cancelled_running_job_is_dropped() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let running = submit(&daemon, "a").await;
    gate.begun().await;
    let job = delete(&daemon, &format!("/jobs/{running}")).await.json();
    assert_eq!((&job["state"], &job["error"], &job["attempt"]), (&"failed".into(), &"cancelled".into(), &1.into()));
    gate.dropped().await;
    // The worker takes the next job, and the cancelled job does not change.
    let next = submit(&daemon, "b").await;
    assert_eq!(gate.begun().await.job_id().as_str(), next);
    gate.open(1);
    assert_eq!(ended(&daemon, &next).await["state"], "done");
    assert_eq!(status(&daemon, &running).await, job);
}

#[tokio::test]
async fn ended_or_unknown_job_cannot_be_cancelled() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "a").await;
    let done = ended(&daemon, &id).await;
    assert_eq!(delete(&daemon, &format!("/jobs/{id}")).await.refused(409), "job is already done");
    assert_eq!(get(&daemon, &format!("/jobs/{id}"), &[]).await.json(), done);
    assert_eq!(delete(&daemon, "/jobs/7").await.refused(404), "job not found");
}
