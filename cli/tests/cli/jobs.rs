use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::{Bench, Gate, foreman, run};

#[tokio::test]
async fn jobs_are_a_table_or_lines_of_json_newest_first() {
    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    let empty = bench.run(&["jobs"]).await;
    assert_eq!(empty.stdout, "ID  STATE  PLACE  MODEL  CREATED  ERROR\n");
    let one = bench.submit("a").await.to_string();
    let two = bench.submit("b").await.to_string();

    let table = bench.run(&["jobs"]).await.stdout;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "STATE", "PLACE", "MODEL", "CREATED", "ERROR"]);
    assert_eq!(lines[1][..4], [&*two, "queued", "1", "b"]);
    assert_eq!(lines[2][..3], [&*one, "running", "a"]);
    assert_eq!(lines.len(), 3);

    let queued = bench.run(&["jobs", "--state", "queued", "--json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&queued).unwrap()["job_id"], *two);
    let cut = bench.run(&["jobs", "--limit", "1"]).await;
    assert_eq!((cut.stdout.lines().count(), cut.stderr.as_str()), (2, "foreman: there are more than 1; see --limit\n"));
}

#[tokio::test]
async fn more_jobs_than_a_page_are_listed() {
    let bench = Bench::new(|builder| builder).await;
    for _ in 0..105 {
        bench.submit("m").await;
    }
    let all = bench.run(&["jobs", "--json", "--limit", "1000"]).await;
    assert_eq!((all.stdout.lines().count(), all.stderr.as_str()), (105, ""));
    let some = bench.run(&["jobs", "--json", "--limit", "103"]).await;
    assert_eq!(some.stdout.lines().count(), 103);
}

#[tokio::test]
async fn a_list_that_does_not_go_on_is_not_asked_for_for_ever() {
    let list = axum::Router::new().route("/jobs", get(async || r#"{"jobs":[],"next_cursor":"again"}"#));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, list).await });
    let ended = run(foreman(&["jobs", "--url", &url])).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    server.abort();
}

#[tokio::test]
async fn status_and_cancel_print_the_job() {
    let gate = Gate::shut();
    let bench = Bench::new(|builder| builder.backend(gate.backend())).await;
    let job_id = bench.submit("a").await.to_string();
    let status = bench.run(&["status", &job_id]).await;
    assert_eq!(status.code, Some(0));
    assert!(
        status.stdout.starts_with(&format!("job        {job_id}\nstate      running\nmodel      a\n")),
        "{status:?}"
    );

    let cancelled = bench.run(&["cancel", "--json", &job_id]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let job: Value = serde_json::from_str(&cancelled.stdout).unwrap();
    assert_eq!((&job["state"], &job["error"]), (&Value::from("failed"), &Value::from("cancelled")));
    // To tell that a job failed is no failure; to wait for it is one, and there is nothing left to cancel.
    assert_eq!(bench.run(&["status", &job_id]).await.code, Some(0));
    assert_eq!(bench.run(&["wait", &job_id]).await.code, Some(1));
    assert_eq!(bench.run(&["cancel", &job_id]).await.code, Some(3));
    assert_eq!(bench.run(&["status", "7"]).await.code, Some(3));
}

#[tokio::test]
async fn models_are_a_table_and_embeddings_are_lines_of_numbers() {
    let bench = Bench::new(|builder| builder).await;
    let models = bench.run(&["models"]).await;
    assert_eq!(
        models.stdout.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["NAME", "BYTES", "MODIFIED"]
    );
    assert!(models.stdout.lines().nth(1).unwrap().starts_with("echo"), "{models:?}");
    let json = bench.run(&["models", "--json"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["name"], "echo");

    let embedded = bench.run(&["embed", "--model", "echo", "one", "two"]).await;
    assert_eq!(embedded.stdout.lines().count(), 2, "{embedded:?}");
    let numbers = |line: &str| line.split(' ').filter(|number| number.parse::<f32>().is_ok()).count();
    assert!(embedded.stdout.lines().all(|line| numbers(line) == line.split(' ').count()));
    let json = bench.run(&["embed", "--model", "echo", "--json", "one"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["embeddings"].as_array().unwrap().len(), 1);
}
