use foreman_daemon::Daemon;
use tokio::io::AsyncReadExt as _;

use super::gate::Gate;
use super::raw::{accepted, ended, get, id, post, request, send, status, submit};
use super::receiver::Receiver;

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;

#[tokio::test]
async fn submitted_job_completes() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "hello").await;
    let job = ended(&daemon, &id).await;
    assert_eq!(job["job_id"], id.as_str());
    assert_eq!((&job["state"], &job["model"], &job["attempt"]), (&"done".into(), &"m".into(), &1.into()));
    assert!(job["error"].is_null() && job["artifacts"].as_array().unwrap().is_empty() && job.get("position").is_none());
    let times = ["created_at", "started_at", "completed_at"]
        .map(|name| job[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    assert!(times.is_sorted(), "{times:?}");
    let result = &job["result"];
    assert_eq!(result["message"]["content"], "echo (this is no model): hello");
    assert_eq!((&result["done"], &result["done_reason"]), (&true.into(), &"stop".into()));
    assert!(result["total_duration"].is_u64() && result["eval_count"].is_u64());
    assert_eq!(daemon.executions(&super::raw::id(&id)).await, 1);
    let stats = daemon.stats();
    assert_eq!((stats.accepted, stats.executions, stats.polls, stats.webhook_attempts), (1, 1, 1, 0));
}

#[tokio::test]
async fn backend_gets_submission_byte_for_byte() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let body = r#"{"x":1,"model":"m","messages":[{"b":1.0, "a":"\u00e4","a":2}],"stream":false,"tools":[ {} ],"options":{"t":1e0},"think":"high"}"#;
    let id = accepted(&post(&daemon, "/jobs", &[], body).await);
    let chat = gate.begun().await;
    assert_eq!((chat.job_id().as_str(), chat.attempt(), chat.model()), (id.as_str(), 1, "m"));
    assert_eq!(chat.messages()[0].as_json(), r#"{"b":1.0, "a":"\u00e4","a":2}"#);
    assert_eq!(chat.tools().unwrap().get(), "[ {} ]");
    assert_eq!(chat.options().unwrap().get(), r#"{"t":1e0}"#);
    assert_eq!(chat.think().unwrap().get(), r#""high""#);
    assert_eq!(chat.stream(), Some(false));
}

#[tokio::test]
async fn same_key_and_body_return_same_job() {
    let daemon = Daemon::start().await.unwrap();
    let key = "Idempotency-Key: 3f0b6e9c-7c3e-4b5e-9d0a-0d9b8a7c6f5e";
    let first = post(&daemon, "/jobs", &[key], BODY).await;
    assert_eq!(first.header("idempotency-key"), key.strip_prefix("Idempotency-Key: "));
    let job = accepted(&first);
    ended(&daemon, &job).await;
    let second = post(&daemon, "/jobs", &[key], BODY).await;
    assert_eq!(accepted(&second), job);
    assert_eq!(second.header("idempotency-key"), first.header("idempotency-key"));
    let (stats, executions) = (daemon.stats(), daemon.executions(&id(&job)).await);
    assert_eq!((stats.accepted, stats.replayed, stats.executions, executions), (1, 1, 1, 1));
}

/// A client that was restarted has another callback URL.
#[tokio::test]
async fn repeated_submission_moves_the_events_to_its_callback_url() {
    let dir = tempfile::tempdir().unwrap();
    for file in [false, true] {
        let (gate, backend) = Gate::new();
        let builder = Daemon::builder().backend(backend);
        let builder = if file { builder.store(dir.path().join("jobs.db")) } else { builder };
        let daemon = builder.start().await.unwrap();
        let (mut first, mut second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
        let body = |url: &str| format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{url}"}}"#);
        let job = accepted(&post(&daemon, "/jobs", &["Idempotency-Key: k"], &body(&first.url)).await);
        gate.begun().await;
        assert_eq!(first.states(2).await, ["queued", "running"]);
        assert_eq!(accepted(&post(&daemon, "/jobs", &["Idempotency-Key: k"], &body(&second.url)).await), job);
        gate.open(1);
        assert_eq!(second.states(1).await, ["done"], "file: {file}");
    }
}

#[tokio::test]
async fn non_text_keys_are_distinct() {
    let daemon = Daemon::start().await.unwrap();
    let mut jobs = Vec::new();
    for byte in [0x80_u8, 0x81, 0x80] {
        let head = request("POST", "/jobs", &["Content-Type: application/json", "Idempotency-Key: ?"], BODY);
        let bytes: Vec<u8> = head.bytes().map(|is| if is == b'?' { byte } else { is }).collect();
        let mut response = Vec::new();
        send(daemon.local_addr(), bytes).await.read_to_end(&mut response).await.unwrap();
        let response = String::from_utf8_lossy(&response).into_owned();
        let (_, job) = response.split_once(r#"{"job_id":""#).unwrap_or_else(|| panic!("{response}"));
        jobs.push(job.to_owned());
    }
    assert!(jobs[0] != jobs[1] && jobs[0] == jobs[2], "{jobs:?}");
}

#[tokio::test]
async fn same_key_with_other_body_is_rejected() {
    let daemon = Daemon::start().await.unwrap();
    accepted(&post(&daemon, "/jobs", &["Idempotency-Key: k"], BODY).await);
    let other = BODY.replace("hello", "bye");
    let error = post(&daemon, "/jobs", &["Idempotency-Key: k"], &other).await.refused(422);
    assert_eq!(error, "Idempotency-Key already used with another body");
    assert_eq!(daemon.stats().accepted, 1);
}

#[tokio::test]
async fn other_key_or_none_creates_new_job() {
    let daemon = Daemon::start().await.unwrap();
    let mut ids = vec![accepted(&post(&daemon, "/jobs", &["Idempotency-Key: a"], BODY).await)];
    ids.push(accepted(&post(&daemon, "/jobs", &["Idempotency-Key: b"], BODY).await));
    for _ in 0..2 {
        let response = post(&daemon, "/jobs", &[], BODY).await;
        assert_eq!(response.header("idempotency-key"), None);
        ids.push(accepted(&response));
    }
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), daemon.stats().accepted), (4, 4));
}

#[tokio::test]
async fn full_queue_sends_retry_after_and_returns_known_jobs() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).max_queue(1).start().await.unwrap();
    submit(&daemon, "runs").await;
    gate.begun().await;
    let queued = accepted(&post(&daemon, "/jobs", &["Idempotency-Key: k"], BODY).await);
    let refused = post(&daemon, "/jobs", &["Idempotency-Key: l"], BODY).await;
    assert_eq!(refused.refused(429), "the queue is full");
    assert!(refused.asks_to_wait(5), "{refused:?}");
    assert_eq!(accepted(&post(&daemon, "/jobs", &["Idempotency-Key: k"], BODY).await), queued);
    assert_eq!(daemon.stats().refused, 1);
    // The rejected submission has not used its key.
    gate.open(1);
    gate.begun().await;
    accepted(&post(&daemon, "/jobs", &["Idempotency-Key: l"], BODY).await);
}

#[tokio::test]
async fn queued_jobs_have_position() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let running = submit(&daemon, "a").await;
    gate.begun().await;
    let (next, last) = (submit(&daemon, "b").await, submit(&daemon, "c").await);
    assert!(status(&daemon, &running).await.get("position").is_none());
    assert_eq!(status(&daemon, &next).await["position"], 1);
    assert_eq!(status(&daemon, &last).await["position"], 2);
    gate.open(1);
    gate.begun().await;
    assert_eq!(status(&daemon, &last).await["position"], 1);
}

#[tokio::test]
async fn null_is_absent() {
    let daemon = Daemon::start().await.unwrap();
    let body = r#"{"model":"m","messages":null,"stream":null,"tools":null,"options":null,"think":null,"state_webhook_url":null}"#;
    let id = accepted(&post(&daemon, "/jobs", &[], body).await);
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    assert_eq!(get(&daemon, "/jobs/0", &[]).await.refused(404), "job not found");
}

#[tokio::test]
async fn job_that_has_not_started_by_its_deadline_fails() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    submit(&daemon, "runs").await;
    gate.begun().await;
    let with_deadline = async |deadline: &str| {
        accepted(&post(&daemon, "/jobs", &[], &format!(r#"{{"model":"m","deadline":"{deadline}"}}"#)).await)
    };
    let late = with_deadline("2026-01-02T03:04:05+01:00").await;
    let in_time = with_deadline("9999-01-01T00:00:00Z").await;
    gate.open(1);
    let job = ended(&daemon, &late).await;
    assert_eq!((&job["state"], &job["error"]), (&"failed".into(), &"deadline".into()));
    assert_eq!(gate.begun().await.job_id().as_str(), in_time);
    assert_eq!(daemon.stats().executions, 2);
}
