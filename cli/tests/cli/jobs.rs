use std::time::Duration;

use axum::routing::get;
use foreman_client::BoxError;
use foreman_daemon::{Backend, Echo, ListLoaded};
use serde_json::Value;
use tower::service_fn;

use crate::support::{Gate, TestDaemon, foreman, run, serve};

#[tokio::test]
async fn jobs_are_listed_newest_first_as_table_and_json() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let empty = daemon.run(&["jobs"]).await;
    assert_eq!(empty.stdout, "ID  STATE  POSITION  MODEL  CREATED  ERROR\n");
    let one = daemon.submit("a").await.to_string();
    let two = daemon.submit("b").await.to_string();

    let table = daemon.run(&["jobs"]).await.stdout;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "STATE", "POSITION", "MODEL", "CREATED", "ERROR"]);
    assert_eq!(lines[1][..4], [&*two, "queued", "1", "b"]);
    assert_eq!(lines[2][..3], [&*one, "running", "a"]);
    assert_eq!(lines.len(), 3);

    let queued = daemon.run(&["jobs", "--state", "queued", "--json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&queued).unwrap()["job_id"], *two);
    let cut = daemon.run(&["jobs", "--limit", "1"]).await;
    assert_eq!(
        (cut.stdout.lines().count(), cut.stderr.as_str()),
        (2, "foreman: more jobs exist (limit 1); see --limit\n")
    );
}

#[tokio::test]
async fn list_spans_pages() {
    let daemon = TestDaemon::new(|builder| builder).await;
    for _ in 0..105 {
        daemon.submit("m").await;
    }
    let all = daemon.run(&["jobs", "--json", "--limit", "1000"]).await;
    assert_eq!((all.stdout.lines().count(), all.stderr.as_str()), (105, ""));
    let some = daemon.run(&["jobs", "--json", "--limit", "103"]).await;
    assert_eq!(some.stdout.lines().count(), 103);
}

#[tokio::test]
async fn created_time_is_not_rounded_up() {
    let page = r#"{"jobs":[{"job_id":"7","state":"done","created_at":"2026-01-01T00:00:01.6Z"}]}"#;
    let url = format!("http://{}", serve(axum::Router::new().route("/jobs", get(async move || page))).await);
    let outcome = run(foreman(&["jobs", "--url", &url])).await;
    assert!(outcome.stdout.contains("2026-01-01T00:00:01Z"), "{outcome:?}");
}

#[tokio::test]
async fn status_has_deadline() {
    let silent = axum::Router::new().route("/jobs/{id}", get(std::future::pending::<&str>));
    let url = format!("http://{}", serve(silent).await);
    let outcome = run(foreman(&["status", "--url", &url, "--deadline", "1ms", "7"])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(4), ""), "{outcome:?}");
    assert_eq!(outcome.stderr, "foreman: no response within the deadline of 1 ms\n");
}

#[tokio::test]
async fn repeated_cursor_exits_with_3() {
    let list = axum::Router::new().route("/jobs", get(async || r#"{"jobs":[],"next_cursor":"again"}"#));
    let url = format!("http://{}", serve(list).await);
    let outcome = run(foreman(&["jobs", "--url", &url])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
}

#[tokio::test]
async fn status_and_cancel_print_job() {
    let gate = Gate::closed();
    let daemon = TestDaemon::new(|builder| builder.backend(gate.backend())).await;
    let job_id = daemon.submit("a").await.to_string();
    let status = daemon.run(&["status", &job_id]).await;
    assert_eq!(status.code, Some(0));
    assert!(
        status.stdout.starts_with(&format!("job        {job_id}\nstate      running\nmodel      a\n")),
        "{status:?}"
    );

    let cancelled = daemon.run(&["cancel", "--json", &job_id]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let job: Value = serde_json::from_str(&cancelled.stdout).unwrap();
    assert_eq!((&job["state"], &job["error"]), (&Value::from("failed"), &Value::from("cancelled")));
    // `status` succeeds for a failed job. `wait` does not, and `cancel` has nothing to cancel.
    assert_eq!(daemon.run(&["status", &job_id]).await.code, Some(0));
    assert_eq!(daemon.run(&["wait", &job_id]).await.code, Some(1));
    assert_eq!(daemon.run(&["cancel", &job_id]).await.code, Some(3));
    assert_eq!(daemon.run(&["status", "7"]).await.code, Some(5));
}

#[tokio::test]
async fn loaded_models_are_shown_if_the_server_reports_them() {
    let loaded = service_fn(async |_: ListLoaded| Ok::<_, BoxError>(Some(vec!["echo".to_owned()])));
    let daemon = TestDaemon::new(|builder| builder.backend(Backend::from(Echo::new()).loaded(loaded))).await;
    let shown = async {
        loop {
            let models = daemon.run(&["models"]).await.stdout;
            if models.contains("LOADED") {
                return models;
            }
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(60), shown).await.unwrap();
    let lines: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [vec!["NAME", "BYTES", "MODIFIED", "LOADED"], vec!["echo", "default"]]);
    let boxes = daemon.run(&["admin", "boxes"]).await.stdout;
    assert!(boxes.lines().nth(1).unwrap().ends_with("  echo*"), "{boxes}");
}

#[tokio::test]
async fn models_and_embeddings_are_text_or_json() {
    let daemon = TestDaemon::new(|builder| builder).await;
    let models = daemon.run(&["models"]).await;
    assert_eq!(
        models.stdout.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAME", "BYTES", "MODIFIED"]
    );
    assert!(models.stdout.lines().nth(1).unwrap().starts_with("echo"), "{models:?}");
    let json = daemon.run(&["models", "--json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], "echo");

    let embedded = daemon.run(&["embed", "--model", "echo", "one", "two"]).await;
    assert_eq!(embedded.stdout.lines().count(), 2, "{embedded:?}");
    let numbers = |line: &str| line.split(' ').filter(|number| number.parse::<f32>().is_ok()).count();
    assert!(embedded.stdout.lines().all(|line| numbers(line) == line.split(' ').count()));
    let json = daemon.run(&["embed", "--model", "echo", "--json", "one"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["embeddings"].as_array().unwrap().len(), 1);
}
