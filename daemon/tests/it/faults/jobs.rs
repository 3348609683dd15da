use std::time::Duration;

use foreman_daemon::Daemon;
use foreman_daemon::faults::{Faults, Times};
use tower::ServiceExt as _;

use super::super::raw::{delete, ended, status, submit};
use super::{Rig, quick, request};
use crate::eventually::bounded;

#[tokio::test]
async fn a_wait_for_a_stalled_job_ends_at_its_deadline_and_the_others_go_on() {
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
    assert_eq!(result.job_id, id);
    assert_eq!(bounded(patient).await.unwrap().unwrap().job_id, id);
    rig.ran_once(&result).await;
    assert_eq!((rig.ran(), rig.faults.seen().stalled_jobs), ((1, 1), 1));
}

#[tokio::test]
async fn a_stalled_job_can_be_cancelled_and_the_backend_never_hears_of_it() {
    let rig = Rig::start().await;
    rig.faults.jobs().stall(Times::Next(1));
    let id = submit(&rig.daemon, "stalled").await;
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
    assert_eq!(delete(&rig.daemon, &format!("/jobs/{id}")).await.json()["error"], "cancelled");
    // Its worker is free, and the fault is used up.
    let next = submit(&rig.daemon, "next").await;
    assert_eq!(rig.gate.begun().await.job_id().as_str(), next);
    rig.gate.open(1);
    assert_eq!(ended(&rig.daemon, &next).await["state"], "done");
    assert_eq!((status(&rig.daemon, &id).await["error"].as_str(), rig.ran()), (Some("cancelled"), (2, 1)));
}

#[tokio::test]
async fn all_stalled_jobs_go_on_when_the_faults_are_cleared_and_none_is_stalled_after_that() {
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
async fn a_stop_waits_for_a_stalled_job_no_longer_than_the_drain_time() {
    let rig = Rig::with(|builder| builder.drain(Duration::ZERO)).await;
    rig.faults.jobs().stall(Times::UntilCleared);
    submit(&rig.daemon, "stalled").await;
    bounded(rig.faults.until(|seen| seen.stalled_jobs == 1)).await;
    bounded(rig.daemon.shutdown()).await;
    assert!(!rig.gate.has_begun().await);
}

#[tokio::test]
async fn a_handle_serves_one_daemon_after_the_other() {
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
