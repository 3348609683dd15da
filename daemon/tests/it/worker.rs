use foreman_daemon::{Artifact, BoxError};
use foreman_daemon::{Backend, Chat, ChatResponse, Daemon};
use tower::service_fn;

use super::gate::Gate;
use super::raw::{ended, submit};

/// Fails, panics or succeeds, by the text of the message.
fn scripted() -> Backend {
    Backend::new(service_fn(|chat: Chat| {
        // A panic in `call` itself, before there is a future.
        assert!(!chat.messages()[0].as_json().contains("panic early"), "early");
        async move {
            match chat.messages()[0].as_json() {
                text if text.contains("panic") => panic!("late"),
                text if text.contains("fail") => Err(BoxError::from("no memory")),
                _ => Ok(ChatResponse::from_value("ok")?.artifact(Artifact::new("a.txt", "text/plain", b"hi"))),
            }
        }
    }))
}

#[tokio::test]
async fn backend_error_or_panic_fails_only_its_job() {
    let daemon = Daemon::builder().backend(scripted()).start().await.unwrap();
    for (text, error) in
        [("fail", "no memory"), ("panic early", "the backend panicked: early"), ("panic", "the backend panicked: late")]
    {
        let id = submit(&daemon, text).await;
        let job = ended(&daemon, &id).await;
        assert_eq!((&job["state"], &job["error"], &job["result"]), (&"failed".into(), &error.into(), &().into()));
    }
    // The only worker still runs.
    let id = submit(&daemon, "go").await;
    let job = ended(&daemon, &id).await;
    assert_eq!((&job["state"], &job["result"], &job["error"]), (&"done".into(), &"ok".into(), &().into()));
    let artifact = serde_json::json!([{ "name": "a.txt", "content_type": "text/plain", "size": 2, "data": "aGk=" }]);
    assert_eq!(job["artifacts"], artifact);
    assert_eq!(daemon.stats().executions, 4);
}

/// Panics when it is dropped.
struct PanicsOnDrop(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
        panic!("dropped");
    }
}

#[tokio::test]
async fn worker_survives_panic_in_cancelled_run() {
    let (started, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::new(service_fn(move |chat: Chat| {
        let started = started.clone();
        async move {
            if chat.messages()[0].as_json().contains("panic on drop") {
                let _ = started.send(());
                let _guard = PanicsOnDrop(started);
                std::future::pending::<()>().await;
            }
            ChatResponse::from_value("ok")
        }
    }));
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let id = submit(&daemon, "panic on drop").await;
    begun.recv().await.unwrap();
    assert_eq!(super::raw::delete(&daemon, &format!("/jobs/{id}")).await.json()["error"], "cancelled");
    let next = submit(&daemon, "go").await;
    assert_eq!(ended(&daemon, &next).await["state"], "done");
    assert_eq!(super::raw::status(&daemon, &id).await["error"], "cancelled");
}

#[tokio::test]
async fn workers_run_jobs_concurrently_in_queue_order() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).workers(2).start().await.unwrap();
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d"] {
        ids.push(submit(&daemon, text).await);
    }
    for id in &ids[..2] {
        assert_eq!(gate.begun().await.job_id().as_str(), id);
    }
    let running = super::raw::get(&daemon, "/jobs?state=running", &[]).await.json();
    assert_eq!(running["jobs"].as_array().unwrap().len(), 2);
    for id in &ids[2..] {
        assert!(!gate.has_begun().await);
        gate.open(1);
        assert_eq!(gate.begun().await.job_id().as_str(), id);
    }
    gate.open(2);
    for id in &ids {
        assert_eq!(ended(&daemon, id).await["state"], "done");
    }
}
