use std::time::Duration;

use foreman_daemon::Daemon;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};

use super::gate::Gate;
use super::raw::{accepted, delete, ended, post, status, submit, submit_to};
use super::receiver::{Event, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A daemon that retries six times, without a pause.
async fn retrying() -> Daemon {
    Daemon::builder().webhook_retries([Duration::ZERO; 6]).start().await.unwrap()
}

/// Foreman's signature, computed independently.
fn foreman_signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn standard_headers(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, HeaderValue::from_str(event.header(name)).unwrap());
    }
    headers
}

#[tokio::test]
async fn every_change_is_sent_in_order_with_both_signatures() {
    let mut receiver = Receiver::start(&[]).await;
    let daemon = Daemon::builder().webhook_secret(SECRET).start().await.unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    let mut ids = Vec::new();
    for state in ["queued", "running", "done"] {
        let event = receiver.event().await;
        assert!(event.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{event:?}");
        assert_eq!(event.header("content-type"), "application/json");
        assert_eq!((event.state().as_str(), event.json()["job_id"].as_str()), (state, Some(id.as_str())));
        assert_eq!(event.header("x-foreman-signature"), foreman_signature(SECRET, &event.body));
        verifier.verify(event.body.as_bytes(), &standard_headers(&event)).unwrap();
        assert!(verifier.verify(b"{}", &standard_headers(&event)).is_err());
        ids.push(event.header("webhook-id").to_owned());
        match state {
            "queued" => assert_eq!(event.json()["position"], 1),
            "done" => assert_eq!(event.json(), status(&daemon, &id).await),
            _ => {}
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    daemon.shutdown().await;
    assert!(receiver.is_empty());
}

#[tokio::test]
async fn without_secret_webhooks_are_unsigned_and_have_the_traceparent() {
    let mut receiver = Receiver::start(&[]).await;
    let daemon = Daemon::start().await.unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let body = format!(r#"{{"model":"m","state_webhook_url":"{}"}}"#, receiver.url);
    accepted(&post(&daemon, "/jobs", &[&format!("traceparent: {trace}")], &body).await);
    let event = receiver.event().await;
    let head = event.head.to_lowercase();
    assert!(!head.contains("signature") && !event.header("webhook-id").contains('.'), "{head}");
    assert_eq!(event.header("traceparent"), trace);
}

#[tokio::test]
async fn transient_failure_is_retried_with_the_same_id() {
    for answer in ["500 Oops", "503 Busy", "408 Slow", "425 Early", "429 Many", ""] {
        let mut receiver = Receiver::start(&[answer, answer]).await;
        let daemon = retrying().await;
        submit_to(&daemon, &receiver.url).await;
        let (one, two, three) = (receiver.event().await, receiver.event().await, receiver.event().await);
        for event in [&one, &two, &three] {
            assert_eq!((event.state().as_str(), &event.body), ("queued", &one.body), "{answer}");
            assert_eq!(event.header("webhook-id"), one.header("webhook-id"));
        }
        assert_eq!(receiver.states(2).await, ["running", "done"], "{answer}");
        daemon.shutdown().await;
        assert!(receiver.is_empty());
    }
}

#[tokio::test]
async fn rejection_and_redirect_are_given_up_after_three_attempts() {
    let elsewhere = Receiver::start(&[]).await;
    let location: &'static str = format!("302 Found\r\nLocation: {}", elsewhere.url).leak();
    for answer in ["404 Not Found", "401 Unauthorized", location] {
        let mut receiver = Receiver::start(&[answer; 3]).await;
        let daemon = retrying().await;
        submit_to(&daemon, &receiver.url).await;
        assert_eq!(receiver.states(5).await, ["queued", "queued", "queued", "running", "done"], "{answer}");
        daemon.shutdown().await;
        assert!(receiver.is_empty() && elsewhere.is_empty());
    }
}

#[tokio::test]
async fn gone_stops_events_of_that_job_only() {
    let mut gone = Receiver::start(&["410 Gone"]).await;
    let mut other = Receiver::start(&[]).await;
    let daemon = retrying().await;
    let first = submit_to(&daemon, &gone.url).await;
    assert_eq!(ended(&daemon, &first).await["state"], "done");
    submit_to(&daemon, &other.url).await;
    assert_eq!(other.states(3).await, ["queued", "running", "done"]);
    assert_eq!(gone.event().await.state(), "queued");
    daemon.shutdown().await;
    assert!(gone.is_empty());
}

#[tokio::test]
async fn event_between_attempts_delays_no_other_job() {
    let mut broken = Receiver::start(&["500 Oops"]).await;
    let mut other = Receiver::start(&[]).await;
    let hour = Duration::from_secs(3600);
    let daemon = Daemon::builder().webhook_retries([hour]).webhooks_at_once(1).start().await.unwrap();
    submit_to(&daemon, &broken.url).await;
    assert_eq!(broken.event().await.state(), "queued");
    submit_to(&daemon, &other.url).await;
    assert_eq!(other.states(3).await, ["queued", "running", "done"]);
    // Shutdown does not wait for the next attempt.
    daemon.shutdown().await;
    assert!(broken.is_empty());
}

#[tokio::test]
async fn full_disk_stops_further_webhooks() {
    let folder = tempfile::tempdir().unwrap();
    let (mut receiver, mut other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let file = folder.path().join("jobs.db");
    let daemon = Daemon::builder().store(&file).webhooks_at_once(1).start().await.unwrap();
    let disk = rusqlite::Connection::open(&file).unwrap();
    let full = "CREATE TRIGGER full BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'full'); END";
    disk.execute_batch(full).unwrap();
    submit_to(&daemon, &receiver.url).await;
    assert_eq!(receiver.event().await.state(), "queued");
    submit_to(&daemon, &other.url).await;
    // Each submission waits for the store's earlier transactions.
    for _ in 0..20 {
        submit(&daemon, "go").await;
    }
    assert!(other.is_empty());
    disk.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(receiver.states(2).await, ["running", "done"]);
    assert_eq!(other.states(3).await, ["queued", "running", "done"]);
    daemon.shutdown().await;
    assert!(receiver.is_empty() && other.is_empty());
}

#[tokio::test]
async fn cancelled_job_is_reported_as_failed() {
    let mut receiver = Receiver::start(&[]).await;
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let id = submit_to(&daemon, &receiver.url).await;
    gate.begun().await;
    delete(&daemon, &format!("/jobs/{id}")).await;
    assert_eq!(receiver.states(2).await, ["queued", "running"]);
    let last = receiver.event().await.json();
    assert_eq!((&last["state"], &last["error"]), (&"failed".into(), &"cancelled".into()));
    daemon.shutdown().await;
}
