//! Several backends, each with its own models.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use foreman_daemon::{
    Backend, BoxError, Chat, ChatResponse, Daemon, EmbedRequest, EmbedResponse, ListModels, ModelInfo, Unavailable,
};
use serde_json::{Value, json};
use tower::service_fn;

use super::eventually::{bounded, eventually};
use super::gate::Gate;
use super::raw::{accepted, ended, get, post, status};

/// A backend whose results are its name, with models that a test can change.
#[derive(Clone)]
pub(crate) struct Fake {
    name: &'static str,
    pub(crate) models: Arc<std::sync::Mutex<Vec<&'static str>>>,
    is_down: Arc<AtomicBool>,
}

impl Fake {
    pub(crate) fn new(name: &'static str, models: &[&'static str]) -> Self {
        Self { name, models: Arc::new(models.to_vec().into()), is_down: Arc::default() }
    }

    pub(crate) fn backend(&self) -> Backend {
        let (chat, models, embed) = (self.clone(), self.clone(), self.clone());
        Backend::new(service_fn(move |_: Chat| {
            let answer = chat.check().and_then(|()| Ok(ChatResponse::from_value(chat.name)?));
            async move { answer }
        }))
        .models(service_fn(move |_: ListModels| {
            let listed = models.models.lock().unwrap().iter().map(|name| ModelInfo::new(*name)).collect();
            let answer = models.check().map(|()| listed);
            async move { answer }
        }))
        .embed(service_fn(move |_: EmbedRequest| {
            let answer = embed.check().map(|()| {
                serde_json::from_value::<EmbedResponse>(json!({ "model": embed.name, "embeddings": [] })).unwrap()
            });
            async move { answer }
        }))
        .name(self.name)
    }

    fn check(&self) -> Result<(), BoxError> {
        if self.is_down.load(Relaxed) { Err(Unavailable::new("connection refused").into()) } else { Ok(()) }
    }
}

/// A daemon that can run some of the models is ready.
#[tokio::test]
async fn unavailable_backend_is_named() {
    let (up, down) = (Fake::new("up", &["m"]), Fake::new("down", &["n"]));
    down.is_down.store(true, Relaxed);
    let daemon = Daemon::builder().backends([up.backend(), down.backend()]).start().await.unwrap();
    let named = async {
        loop {
            let ready = get(&daemon, "/readyz", &[]).await;
            assert_eq!(ready.status, 200, "{ready:?}");
            if ready.json() == json!({ "status": "ready", "unavailable_backends": ["down"] }) {
                return;
            }
        }
    };
    bounded(named).await;
    let boxes = get(&daemon, "/api/boxes", &[]).await.json();
    let backends = json!([
        { "name": "up", "models": ["m"], "loaded": null },
        { "name": "down", "models": null, "unavailable": true, "loaded": null },
    ]);
    assert_eq!(boxes["boxes"][0]["backends"], backends);
}

async fn submit(daemon: &Daemon, model: &str) -> String {
    accepted(&post(daemon, "/jobs", &[], &json!({ "model": model, "messages": [] }).to_string()).await)
}

async fn ran_on(daemon: &Daemon, model: &str) -> Value {
    let id = submit(daemon, model).await;
    ended(daemon, &id).await["result"].clone()
}

#[tokio::test]
async fn job_runs_on_a_backend_that_has_its_model() {
    let folder = tempfile::tempdir().unwrap();
    for store in [None, Some(folder.path().join("jobs.db"))] {
        let backends = [Fake::new("one", &["a:latest", "b"]), Fake::new("two", &["b", "c"])];
        let mut builder = Daemon::builder().backends(backends.each_ref().map(Fake::backend));
        if let Some(store) = store {
            builder = builder.store(store);
        }
        let daemon = builder.start().await.unwrap();
        assert_eq!([ran_on(&daemon, "a").await, ran_on(&daemon, "c").await], ["one", "two"]);
        let models = get(&daemon, "/api/tags", &[]).await.json();
        let listed = models["models"].as_array().unwrap().iter().map(|model| (&model["name"], &model["backends"]));
        let listed: Vec<_> = listed.map(|(name, backends)| format!("{name} {backends}")).collect();
        assert_eq!(listed, [r#""a:latest" ["one"]"#, r#""b" ["one","two"]"#, r#""c" ["two"]"#]);
        let embedded = post(&daemon, "/api/embed", &[], r#"{"model":"c","input":"text"}"#).await.json();
        assert_eq!(embedded["model"], "two");
        let metrics = get(&daemon, "/metrics", &[]).await.body;
        assert!(metrics.contains("foreman_backend_models{backend=\"two\"} 2\n"), "{metrics}");
    }
}

#[tokio::test]
async fn jobs_move_on_when_a_backend_is_down() {
    let (one, two) = (Fake::new("one", &["m"]), Fake::new("two", &["m"]));
    let daemon = Daemon::builder().backends([one.backend(), two.backend()]).start().await.unwrap();
    eventually("listed", || true).await;
    ran_on(&daemon, "m").await;
    one.is_down.store(true, Relaxed);
    for _ in 0..4 {
        assert_eq!(ran_on(&daemon, "m").await, "two");
    }
    assert_eq!(get(&daemon, "/readyz", &[]).await.status, 200);
    let embedded = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":"text"}"#).await.json();
    assert_eq!(embedded["model"], "two");
    assert_eq!(get(&daemon, "/api/tags", &[]).await.json()["models"][0]["backends"], json!(["two"]));
}

#[tokio::test]
async fn unlisted_model_is_refused_or_waits() {
    let one = Fake::new("one", &["a"]);
    let backends = || [one.backend(), Fake::new("two", &["b"]).backend()];
    let daemon = Daemon::builder().backends(backends()).start().await.unwrap();
    let refused = post(&daemon, "/jobs", &[], r#"{"model":"new"}"#).await.refused(422);
    assert_eq!(refused, "no backend has the model new");
    assert_eq!(post(&daemon, "/api/embed", &[], r#"{"model":"new","input":"text"}"#).await.refused(422), refused);

    let builder = Daemon::builder().backends(backends()).model_refresh(Duration::from_millis(5));
    let daemon = builder.accept_unlisted_models(true).start().await.unwrap();
    let id = submit(&daemon, "new").await;
    assert_eq!(ran_on(&daemon, "b").await, "two");
    assert_eq!(status(&daemon, &id).await["state"], "queued");
    // Somebody installs it.
    one.models.lock().unwrap().push("new");
    assert_eq!(ended(&daemon, &id).await["result"], "one");
}

#[tokio::test]
async fn each_backend_has_its_workers() {
    let ((small_gate, small), (large_gate, large)) = (Gate::new(), Gate::new());
    let models = |names: &'static [&'static str]| {
        service_fn(move |_: ListModels| async move {
            Ok::<_, BoxError>(names.iter().map(|name| ModelInfo::new(*name)).collect::<Vec<_>>())
        })
    };
    let small = small.models(models(&["s"])).name("small");
    let large = large.models(models(&["l"])).name("large").workers(2);
    let daemon = Daemon::builder().backends([small, large]).start().await.unwrap();
    for model in ["s", "s", "l", "l", "l"] {
        submit(&daemon, model).await;
    }
    for gate in [&small_gate, &large_gate, &large_gate] {
        gate.begun().await;
    }
    assert!(!small_gate.has_begun().await && !large_gate.has_begun().await);
    large_gate.open(1);
    large_gate.begun().await;
    assert!(!small_gate.has_begun().await);
    let metrics = get(&daemon, "/metrics", &[]).await.body;
    assert!(metrics.contains("foreman_backend_running_jobs{backend=\"large\"} 2\n"), "{metrics}");
    small_gate.open(2);
    large_gate.open(2);
}

#[tokio::test]
async fn names_of_backends_are_checked() {
    let backend = |name: &str| Fake::new("", &[]).backend().name(name);
    for (backends, message) in [
        (vec![], "invalid backends: must not be empty"),
        (vec![backend("a"), backend("a")], "invalid backends: two of them have the name `a`"),
        (vec![backend("a"), backend("")], "invalid backends: must have a name of 1 to 64 ASCII letters"),
        (vec![backend("a b")], "invalid backends: must have a name of 1 to 64 ASCII letters"),
        (vec![backend("a").workers(0)], "invalid workers: must be at least 1"),
    ] {
        let error = Daemon::builder().backends(backends).start().await.unwrap_err();
        assert!(error.is_invalid_config() && error.to_string().starts_with(message), "{error}");
    }
}
