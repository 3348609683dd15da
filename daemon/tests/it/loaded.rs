//! Models that backends have loaded.

use foreman_daemon::{Backend, BoxError, Daemon, ListLoaded, Ollama, OpenAi};
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

use super::eventually::bounded;
use super::model_server::{ModelServer, Script, unused_url};
use super::raw::{accepted, ended, get, post};
use super::several_backends::Fake;

/// A response of Ollama to `GET /api/ps`.
const RUNNING: &str =
    r#"{"models":[{"name":"m:latest","model":"m:latest","size":7,"size_vram":7,"expires_at":"2026-01-01T00:00:00Z"}]}"#;

fn ok(body: &str) -> Script {
    Script::respond("200 OK", body)
}

fn not_found() -> Script {
    Script::respond("404 Not Found", "404 page not found")
}

#[tokio::test]
async fn ollama_lists_running_models() {
    for (script, expected) in [
        (ok(RUNNING), Some(vec!["m:latest".to_owned()])),
        (ok(r#"{"models":[]}"#), Some(vec![])),
        (not_found(), None),
        (ok("{}"), None),
    ] {
        let mut server = ModelServer::start_with_loaded([script]).await;
        let loaded = Ollama::new(&server.url).unwrap().oneshot(ListLoaded::default()).await.unwrap();
        assert_eq!(loaded, expected);
        assert_eq!(server.request().await.line(), "GET /api/ps");
    }
}

#[tokio::test]
async fn servers_with_the_api_of_openai_are_asked_in_their_own_ways() {
    let unexpected = r#"{"error":"Unexpected endpoint or method. (GET /running)"}"#;
    let models = r#"{"object":"list","data":[{"id":"m","state":"loaded"},{"id":"n","state":"not-loaded"}]}"#;
    let router = r#"{"data":[{"id":"m","status":{"value":"loaded"}},{"id":"n","status":{"value":"unloaded"}}]}"#;
    for (scripts, expected) in [
        (vec![ok(r#"{"running":[{"model":"m","state":"ready"}]}"#)], Some(vec!["m".to_owned()])),
        (vec![ok(unexpected), ok(models)], Some(vec!["m".to_owned()])),
        (vec![not_found(), not_found(), ok(router)], Some(vec!["m".to_owned()])),
        (vec![not_found(), not_found(), not_found()], None),
    ] {
        let requests = scripts.len();
        let mut server = ModelServer::start_with_loaded(scripts).await;
        let openai = OpenAi::new(format!("{}/v1", server.url)).unwrap();
        assert_eq!(openai.oneshot(ListLoaded::default()).await.unwrap(), expected);
        for line in &["GET /running", "GET /api/v0/models", "GET /models"][..requests] {
            assert_eq!(server.request().await.line(), *line);
        }
    }
}

#[tokio::test]
async fn failure_is_not_taken_for_a_server_that_reports_nothing() {
    let server = ModelServer::start_with_loaded([Script::respond("503 Service Unavailable", "")]).await;
    Ollama::new(&server.url).unwrap().oneshot(ListLoaded::default()).await.unwrap_err();
    let (_socket, url) = unused_url();
    OpenAi::new(url).unwrap().oneshot(ListLoaded::default()).await.unwrap_err();
}

#[tokio::test]
async fn daemon_asks_ollama_after_its_list() {
    let server =
        ModelServer::start_with_loaded([ok(r#"{"models":[{"name":"m:latest"},{"name":"n"}]}"#), ok(RUNNING)]).await;
    let daemon = Daemon::builder().backend(Ollama::new(&server.url).unwrap()).start().await.unwrap();
    let expected = json!([{ "name": "default", "models": ["m:latest", "n"], "loaded": ["m:latest"] }]);
    until_so(&daemon, "/api/boxes", |boxes| boxes["boxes"][0]["backends"] == expected).await;
}

/// The backend reports that it has these models loaded.
fn with(fake: &Fake, loaded: &'static [&'static str]) -> Backend {
    fake.backend().loaded(service_fn(move |_: ListLoaded| async move {
        Ok::<_, BoxError>(Some(loaded.iter().map(|&model| model.to_owned()).collect()))
    }))
}

/// Waits until the response is as expected.
async fn until_so(daemon: &Daemon, path: &str, is_so: impl Fn(&Value) -> bool) {
    bounded(async { while !is_so(&get(daemon, path, &[]).await.json()) {} }).await;
}

/// How many of 6 jobs, one after the other, the backend `two` runs.
async fn jobs_of_two(daemon: &Daemon) -> usize {
    let mut jobs = 0;
    for _ in 0..6 {
        let id = accepted(&post(daemon, "/jobs", &[], r#"{"model":"m","messages":[]}"#).await);
        jobs += usize::from(bounded(ended(daemon, &id)).await["result"] == "two");
    }
    jobs
}

#[tokio::test]
async fn loaded_models_are_shown_and_get_their_jobs() {
    let folder = tempfile::tempdir().unwrap();
    for store in [None, Some(folder.path().join("jobs.db"))] {
        let (one, two) = (Fake::new("one", &["m", "n"]), Fake::new("two", &["m:latest"]));
        let builder = Daemon::builder().backends([with(&one, &[]), with(&two, &["m:latest"])]);
        let builder = if let Some(store) = store { builder.store(store) } else { builder };
        let daemon = builder.start().await.unwrap();
        until_so(&daemon, "/api/boxes", |boxes| {
            let loaded = [0, 1].map(|at| boxes["boxes"][0]["backends"][at]["loaded"].clone());
            loaded == [json!([]), json!(["m:latest"])]
        })
        .await;
        let tags = get(&daemon, "/api/tags", &[]).await.json();
        let loaded: Vec<_> = tags["models"].as_array().unwrap().iter().map(|model| &model["loaded"]).collect();
        assert_eq!(loaded, [&json!(null), &json!(null), &json!(["two"])]);
        let metrics = get(&daemon, "/metrics", &[]).await.body;
        let sample = "foreman_backend_model_loaded{backend=\"two\",model=\"m:latest\"} 1\n";
        assert!(metrics.contains(sample) && !metrics.contains("model_loaded{backend=\"one\""), "{metrics}");
        let embedded = post(&daemon, "/api/embed", &[], r#"{"model":"m","input":"text"}"#).await.json();
        assert_eq!(embedded["model"], "two");
        // Each could run on the other one if the machine stalled for seconds.
        assert!(jobs_of_two(&daemon).await > 3);
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn job_goes_to_the_daemon_that_has_its_model_loaded() {
    let Some(server) = super::postgres_server::server() else { return };
    let url = server.schema();
    let start = async |name: &'static str, loaded: &'static [&'static str]| {
        let backend = with(&Fake::new(name, &["m"]), loaded);
        Daemon::builder().postgres(&url).name(name).backend(backend).start().await.unwrap()
    };
    let (one, _two) = (start("one", &[]).await, start("two", &["m"]).await);
    until_so(&one, "/api/tags", |tags| tags["models"][0]["loaded"] == json!(["two/two"])).await;
    // The daemon that gets the submissions would be the first to take them.
    assert!(jobs_of_two(&one).await > 3);
}
