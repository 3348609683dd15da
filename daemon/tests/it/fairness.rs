//! Several tokens share the daemon.

use foreman_daemon::Daemon;
use serde_json::json;

use super::gate::Gate;
use super::owners::By;
use super::raw::{accepted, ended, post, status};

const BODY: &str = r#"{"model":"m","messages":[]}"#;

#[tokio::test]
async fn token_with_many_jobs_delays_another_by_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    for store in [None, Some(folder.path().join("jobs.db"))] {
        let (gate, backend) = Gate::new();
        let mut builder = Daemon::builder().token("many").token("few").model_batch(2).backend(backend);
        if let Some(store) = store {
            builder = builder.store(store);
        }
        let daemon = builder.start().await.unwrap();
        let (many, few) = (By(&daemon, Some("many")), By(&daemon, Some("few")));
        for _ in 0..6 {
            many.submit().await;
        }
        let first = gate.begun().await.job_id().clone();
        let ids = [few.submit().await, few.submit().await];
        assert_eq!(many.state(first.as_str()).await, "running");
        let mut runs = Vec::new();
        for _ in 0..6 {
            gate.open(1);
            runs.push(gate.begun().await.job_id().as_str().to_owned());
        }
        // The rest of the batch that ran when they came.
        assert_eq!(runs[1..3], ids);
    }
}

#[tokio::test]
async fn token_at_its_limit_of_running_jobs_leaves_workers_to_others() {
    let (gate, backend) = Gate::new();
    let builder = Daemon::builder().token("many").token("few").workers(3).max_running_per_token(2);
    let daemon = builder.backend(backend).start().await.unwrap();
    let (many, few) = (By(&daemon, Some("many")), By(&daemon, Some("few")));
    for _ in 0..4 {
        many.submit().await;
    }
    gate.begun().await;
    gate.begun().await;
    let job = few.submit().await;
    assert_eq!(gate.begun().await.job_id().as_str(), job);
    let metrics = few.get("/metrics").await;
    assert!(metrics.body.contains("foreman_running_jobs 3\n"), "{metrics:?}");
    // Each of the others runs when one has ended.
    for _ in 0..2 {
        gate.open(1);
        gate.begun().await;
    }
    gate.open(3);
}

#[tokio::test]
async fn token_beyond_its_rate_is_told_when_to_submit_again() {
    let daemon = Daemon::builder().token("fast").token("slow").max_submissions_per_token(1).start().await.unwrap();
    let (fast, slow) = (By(&daemon, Some("fast")), By(&daemon, Some("slow")));
    fast.submit().await;
    let refused = fast.send("POST", "/jobs", &[], BODY).await;
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(refused.refused(429), "the token submits too many jobs a second");
    slow.submit().await;
    fast.get("/jobs").await.json();
}

#[tokio::test]
async fn job_with_higher_priority_runs_first() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let submit = async |priority: i64| {
        let body = json!({ "model": "m", "messages": [], "priority": priority });
        accepted(&post(&daemon, "/jobs", &[], &body.to_string()).await)
    };
    submit(0).await;
    gate.begun().await;
    let (low, high) = (submit(-1).await, submit(100).await);
    assert_eq!([status(&daemon, &low).await, status(&daemon, &high).await].map(|job| job["position"].clone()), [2, 1]);
    for id in [high, low] {
        gate.open(1);
        assert_eq!(gate.begun().await.job_id().as_str(), id);
    }
}

#[tokio::test]
async fn job_fails_when_its_time_in_the_queue_is_over() {
    let folder = tempfile::tempdir().unwrap();
    for store in [None, Some(folder.path().join("jobs.db"))] {
        let (gate, backend) = Gate::new();
        let mut builder = Daemon::builder().backend(backend);
        if let Some(store) = store {
            builder = builder.store(store);
        }
        let daemon = builder.start().await.unwrap();
        accepted(&post(&daemon, "/jobs", &[], BODY).await);
        gate.begun().await;
        // The only worker has another job.
        let id = accepted(&post(&daemon, "/jobs", &[], r#"{"model":"m","ttl":0.01}"#).await);
        let job = ended(&daemon, &id).await;
        assert_eq!((&job["state"], &job["error"], &job["attempt"]), (&"failed".into(), &"deadline".into(), &0.into()));
        assert_eq!(daemon.stats().deadline_missed, 1);
        gate.open(1);
    }
}

#[tokio::test]
async fn jobs_in_memory_have_a_budget() {
    let (gate, backend) = Gate::new();
    let body = json!({ "model": "m", "messages": [{ "content": "x".repeat(2000) }] }).to_string();
    // A job counts 1 KiB and its model more than its body.
    let daemon = Daemon::builder().memory_budget(2 * (1024 + 1 + body.len())).backend(backend).start().await.unwrap();
    let first = accepted(&post(&daemon, "/jobs", &[], &body).await);
    accepted(&post(&daemon, "/jobs", &[], &body).await);
    let refused = post(&daemon, "/jobs", &[], &body).await;
    assert_eq!(refused.refused(429), "the jobs in memory have as many bytes as they may");
    gate.begun().await;
    gate.open(1);
    ended(&daemon, &first).await;
    // Its result is smaller than its submission.
    accepted(&post(&daemon, "/jobs", &[], BODY).await);
    post(&daemon, "/jobs", &[], &body).await.refused(429);
    gate.open(2);
}
