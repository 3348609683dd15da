use std::time::Duration;

use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, Times};
use tower::ServiceExt as _;

use super::super::raw::{delete, ended, status, submit};
use super::{Rig, quick, request};
use crate::eventually::bounded;

#[tokio::test]
async fn deadline_ends_wait_for_stalled_job_and_no_other() {
    let rig = Rig::start().await;
    rig.faults.jobs().stall(Times::Next(1));
    let request = request();
    let patient = tokio::spawn(rig.polling().oneshot(request.clone()));
    let id = request.submission().accepted().await.unwrap();
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
    let hasty = rig.jobs(rig.waits().poll_policy(quick()).deadline(Duration::from_millis(1)));
    let error = bounded(hasty.oneshot(request.clone())).await.unwrap_err();
    assert!(error.is_deadline() && error.may_be_running(), "{error}");
    assert_eq!(error.job_id(), Some(&id));
    assert_eq!(status(&rig.daemon, id.as_str()).await["state"], "running");
    assert!(!rig.gate.has_begun().await);
    assert_eq!(rig.ran(), (1, 0));

    rig.faults.jobs().release();
    rig.gate.open(1);
    let result = bounded(rig.polling().oneshot(request)).await.unwrap();
    assert_eq!(result.job_id(), &id);
    assert_eq!(bounded(patient).await.unwrap().unwrap().job_id(), &id);
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.faults.seen().stalled_jobs), ((1, 1), 1));
}

#[tokio::test]
async fn cancelled_stalled_job_never_reaches_backend() {
    let rig = Rig::start().await;
    rig.faults.jobs().stall(Times::Next(1));
    let id = submit(&rig.daemon, "stalled").await;
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
    assert_eq!(delete(&rig.daemon, &format!("/jobs/{id}")).await.json()["error"], "cancelled");
    // Its worker is free, and the fault has occurred as often as it was set to.
    let next = submit(&rig.daemon, "next").await;
    assert_eq!(rig.gate.begun().await.job_id().as_str(), next);
    rig.gate.open(1);
    assert_eq!(ended(&rig.daemon, &next).await["state"], "done");
    assert_eq!((status(&rig.daemon, &id).await["error"].as_str(), rig.ran()), (Some("cancelled"), (2, 1)));
}

#[tokio::test]
async fn clear_resumes_stalled_jobs_and_stalls_no_more() {
    let rig = Rig::with(|builder| builder.workers(2)).await;
    rig.faults.jobs().stall(Times::UntilCleared);
    let stalled = [submit(&rig.daemon, "a").await, submit(&rig.daemon, "b").await];
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 2)).await;
    rig.faults.clear();
    rig.gate.open(3);
    let next = submit(&rig.daemon, "c").await;
    for id in stalled.iter().chain([&next]) {
        assert_eq!(ended(&rig.daemon, id).await["state"], "done");
    }
    assert_eq!((rig.ran(), rig.faults.seen().stalled_jobs), ((3, 3), 2));
}

#[tokio::test]
async fn shutdown_waits_for_stalled_job_up_to_drain_timeout() {
    let rig = Rig::with(|builder| builder.drain(Duration::ZERO)).await;
    rig.faults.jobs().stall(Times::UntilCleared);
    submit(&rig.daemon, "stalled").await;
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
    bounded(rig.daemon.shutdown()).await;
    assert!(!rig.gate.has_begun().await);
}

#[tokio::test]
async fn handle_works_with_several_daemons() {
    let faults = Faults::new();
    faults.jobs().stall(Times::Next(2));
    for stalled in 1..=2 {
        let daemon = Daemon::builder().faults(faults.clone()).drain(Duration::ZERO).start().await.unwrap();
        submit(&daemon, "stalled").await;
        bounded(faults.until(|seen| seen.stalled_jobs == stalled)).await;
        daemon.shutdown().await;
    }
    let daemon = Daemon::builder().faults(faults.clone()).start().await.unwrap();
    let id = submit(&daemon, "not stalled").await;
    assert_eq!(ended(&daemon, &id).await["state"], "done");
}
