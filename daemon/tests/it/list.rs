use foreman_daemon::{Artifact, Backend, BoxError, Chat, ChatResponse, Daemon};
use serde_json::{Value, json};
use tower::service_fn;

use super::gate::Gate;
use super::raw::{delete, ended, get, submit};

async fn page(daemon: &Daemon, query: &str) -> (Vec<String>, Option<String>) {
    let response = get(daemon, &format!("/jobs{query}"), &[]).await;
    assert_eq!(response.status, 200, "{response:?}");
    let json = response.json();
    let jobs = json["jobs"].as_array().unwrap();
    let ids = jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect();
    (ids, json.get("next_cursor").and_then(Value::as_str).map(ToOwned::to_owned))
}

#[tokio::test]
async fn pages_are_newest_first() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    assert_eq!(page(&daemon, "").await, (vec![], None));
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d", "e"] {
        ids.insert(0, submit(&daemon, text).await);
    }
    gate.begun().await;
    assert_eq!(page(&daemon, "").await, (ids.clone(), None));

    let (first, next) = page(&daemon, "?limit=2").await;
    assert_eq!(first, ids[..2]);
    // A new job does not shift later pages.
    submit(&daemon, "f").await;
    let (second, next) = page(&daemon, &format!("?limit=2&cursor={}", next.unwrap())).await;
    assert_eq!(second, ids[2..4]);
    let (third, next) = page(&daemon, &format!("?limit=2&cursor={}", next.unwrap())).await;
    assert_eq!((third, next), (ids[4..].to_vec(), None));
    let (exact, next) = page(&daemon, "?limit=6").await;
    assert_eq!((exact.len(), next), (6, None));
}

#[tokio::test]
async fn state_filters_pages() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let running = submit(&daemon, "a").await;
    gate.begun().await;
    let (queued, cancelled) = (submit(&daemon, "b").await, submit(&daemon, "c").await);
    delete(&daemon, &format!("/jobs/{cancelled}")).await;
    assert_eq!(page(&daemon, "?state=running").await, (vec![running], None));
    assert_eq!(page(&daemon, "?state=queued&limit=1").await, (vec![queued], None));
    assert_eq!(page(&daemon, "?state=failed").await, (vec![cancelled], None));
    assert_eq!(page(&daemon, "?state=done").await, (vec![], None));
}

#[tokio::test]
async fn results_are_listed_when_asked_for_within_16_mib() {
    let folder = tempfile::tempdir().unwrap();
    for builder in [Daemon::builder(), Daemon::builder().store(folder.path().join("jobs.db"))] {
        let chat = service_fn(async |_: Chat| {
            let artifact = Artifact::new("a", "image/png", &[0; 3 << 20]);
            Ok::<_, BoxError>(ChatResponse::from_value(&"x".repeat(4 << 20))?.artifact(artifact))
        });
        let daemon = builder.backend(Backend::new(chat)).start().await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = submit(&daemon, "go").await;
            ended(&daemon, &id).await;
            ids.insert(0, id);
        }
        let list = get(&daemon, "/jobs", &[]).await;
        let json = list.json();
        assert!(list.body.len() < 2_000, "{} bytes", list.body.len());
        for (job, id) in json["jobs"].as_array().unwrap().iter().zip(&ids) {
            assert_eq!((&job["job_id"], &job["state"], &job["result"]), (&json!(id), &json!("done"), &json!(null)));
            assert!(job["artifacts"].as_array().unwrap().is_empty() && job["completed_at"].is_string());
        }
        // Each takes 8 MiB.
        let (first, next) = page(&daemon, "?results=true").await;
        assert_eq!(first, ids[..1]);
        let (second, next) = page(&daemon, &format!("?results=true&cursor={}", next.unwrap())).await;
        assert_eq!(second, ids[1..2]);
        let (third, next) = page(&daemon, &format!("?results=true&cursor={}", next.unwrap())).await;
        assert_eq!((third, next), (ids[2..].to_vec(), None));
        let whole = get(&daemon, "/jobs?results=true&limit=1", &[]).await.json();
        assert_eq!(whole["jobs"][0]["result"].as_str().unwrap().len(), 4 << 20);
    }
}
