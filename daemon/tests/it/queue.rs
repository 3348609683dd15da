//! The order of jobs.

use std::time::Duration;

use foreman_daemon::{Builder, Daemon};

use super::gate::Gate;
use super::raw::{accepted, delete, post, status};

async fn submit(daemon: &Daemon, model: &str) -> String {
    accepted(&post(daemon, "/jobs", &[], &format!(r#"{{"model":"{model}","messages":[]}}"#)).await)
}

/// Submits twelve jobs that alternate between two models.
async fn alternating(builder: Builder) -> (Gate, Daemon, Vec<String>) {
    let (gate, backend) = Gate::new();
    let daemon = builder.backend(backend).start().await.unwrap();
    let mut ids = Vec::new();
    for turn in 0..12 {
        ids.push(submit(&daemon, ["a", "b"][turn % 2]).await);
    }
    (gate, daemon, ids)
}

/// The models of the next attempts, in order.
async fn ran(gate: &Gate, runs: usize) -> String {
    let mut models = String::new();
    for _ in 0..runs {
        models.push_str(gate.begun().await.model());
        gate.open(1);
    }
    models
}

#[tokio::test]
async fn alternating_models_switch_once_per_batch() {
    for (batch, models) in [
        (1, "abababababab"),
        (2, "aabbaabbaabb"),
        (4, "aaaabbbbaabb"),
        // The default.
        (8, "aaaaaabbbbbb"),
    ] {
        let (gate, _daemon, _) = alternating(Daemon::builder().model_batch(batch)).await;
        let ran = ran(&gate, 12).await;
        assert_eq!(ran, models);
        let switches = ran.as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(switches + 1, 2 * 6_usize.div_ceil(batch));
    }
}

#[tokio::test]
async fn workers_share_batch() {
    let (gate, daemon, ids) = alternating(Daemon::builder().workers(3).model_batch(3)).await;
    // Each worker took the only queued job at that time. Batching leaves no worker idle.
    for model in ["a", "b", "a"] {
        assert_eq!(gate.begun().await.model(), model);
    }
    // The current batch continues with two more jobs.
    assert_eq!(status(&daemon, &ids[3]).await["position"], 3);
    let mut models = String::new();
    for _ in 0..9 {
        gate.open(1);
        models.push_str(gate.begun().await.model());
    }
    assert_eq!(models, "aabbbaabb");
}

#[tokio::test]
async fn jobs_are_taken_in_order_of_position() {
    let (gate, daemon, ids) = alternating(Daemon::builder().model_batch(2)).await;
    gate.begun().await;
    assert_eq!(delete(&daemon, &format!("/jobs/{}", ids[4])).await.status, 202);
    let mut positions = Vec::new();
    for id in ids.iter().skip(1).filter(|id| **id != ids[4]) {
        positions.push((status(&daemon, id).await["position"].as_u64().unwrap(), id));
    }
    positions.sort_unstable();
    for (expected, (position, id)) in (1..).zip(positions) {
        assert_eq!(position, expected);
        gate.open(1);
        assert_eq!(gate.begun().await.job_id().as_str(), id);
    }
}

#[tokio::test]
async fn order_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stored = || Daemon::builder().store(folder.path().join("jobs.db")).drain(Duration::ZERO).model_batch(4);
    let (gate, daemon, _) = alternating(stored()).await;
    gate.begun().await;
    daemon.shutdown().await;

    let (gate, backend) = Gate::new();
    let _daemon = stored().backend(backend).start().await.unwrap();
    assert_eq!(ran(&gate, 12).await, "aaaabbbbaabb");
}

#[tokio::test]
async fn batch_of_zero_is_rejected() {
    let error = Daemon::builder().model_batch(0).start().await.unwrap_err();
    assert_eq!(error.to_string(), "invalid model_batch: must be at least 1");
}
