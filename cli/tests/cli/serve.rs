use std::time::Duration;

#[cfg(unix)]
use axum::routing::get;
#[cfg(unix)]
use foreman_client::{Client, SubmitRequest};
use serde_json::Value;
#[cfg(unix)]
use tower::ServiceExt as _;

use crate::daemon_process::DaemonProcess;
use crate::support::{Gate, TestDaemon, foreman, run, with_closed_stderr};
#[cfg(unix)]
use crate::support::{full_pipe, serve};

#[cfg(unix)]
#[tokio::test]
async fn stored_jobs_survive_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    let args = ["--backend", "echo", "--store", store.to_str().unwrap()];
    let daemon = DaemonProcess::start(&args).await;
    let submitted = run(daemon.foreman(&["submit", "--model", "m", "hi"])).await;
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("job done job_id={}", submitted.job_id())), "{log}");
    assert!(log.contains(" INFO ") && log.contains("stopped") && !log.contains("lost when the daemon stops"), "{log}");

    let daemon = DaemonProcess::start(&args).await;
    let waited = run(daemon.foreman(&["wait", submitted.job_id()])).await;
    assert_eq!(waited.stdout, submitted.stdout);
    // A second daemon cannot open the same file.
    let second = run(foreman(&[&["serve", "--listen", "127.0.0.1:0"], &args[..]].concat())).await;
    assert_eq!((second.code, second.stdout.as_str()), (Some(74), ""));
    assert!(second.stderr.contains("jobs.db is in use by another daemon"), "{second:?}");
    assert_eq!(daemon.stop().await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn log_has_jobs_that_run_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    let gate = Gate::closed();
    let first =
        TestDaemon::new(|builder| builder.store(&store).drain(Duration::from_millis(1)).backend(gate.backend())).await;
    let job_id = first.submit("m").await;
    first.handle.shutdown().await;

    let daemon = DaemonProcess::start(&["--backend", "echo", "--store", store.to_str().unwrap()]).await;
    assert_eq!(run(daemon.foreman(&["wait", job_id.as_str()])).await.code, Some(0));
    let (code, log) = daemon.stop().await;
    assert_eq!(code, Some(0));
    assert!(log.contains(&format!("job done job_id={job_id}")), "{log}");
}

#[cfg(unix)]
#[tokio::test]
async fn log_format_json() {
    let (code, log) = DaemonProcess::start(&["--backend", "echo", "--log", "json"]).await.stop().await;
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["message"] == "listening"), "{log}");
    assert!(lines.iter().any(|line| line["level"] == "WARN" && line["message"].as_str().unwrap().contains("memory")));
}

#[cfg(unix)]
#[tokio::test]
async fn log_has_availability_of_backend() {
    let models = r#"{"models":[{"name":"a"},{"name":"b"}]}"#;
    let ollama = serve(axum::Router::new().route("/api/tags", get(async move || models))).await;
    for (address, expected) in [
        (ollama.to_string(), "backend available backend=default models=2"),
        ("127.0.0.1:1".to_owned(), "backend unavailable; jobs wait until it is available backend=default reason="),
    ] {
        let args = ["--backend", &format!("ollama=http://{address}"), "--token", "secret"];
        let mut daemon = DaemonProcess::start(&args).await;
        let line = daemon.log_line("backend=default").await;
        assert!(line.contains(expected), "{line}");
        assert_eq!(daemon.stop().await.0, Some(0));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn outage_of_the_store_is_logged_once_and_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    let mut daemon = DaemonProcess::start(&["--backend", "echo", "--store", store.to_str().unwrap()]).await;
    let client = Client::builder(&daemon.url).polling().build().await.unwrap();
    let submit = || client.api().oneshot(SubmitRequest::builder("m").user("hi").build().unwrap());
    let database = rusqlite::Connection::open(&store).unwrap();
    database.execute_batch("CREATE TRIGGER full BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'full'); END").unwrap();
    for _ in 0..3 {
        assert!(submit().await.unwrap_err().is_retryable());
    }
    database.execute_batch("DROP TRIGGER full").unwrap();
    let begins = daemon.log_line("change jobs in the store").await;
    assert!(begins.contains("cannot change jobs in the store; further failures are counted"), "{begins}");
    let works = async {
        loop {
            submit().await.unwrap();
        }
    };
    let ends = tokio::select! {
        line = daemon.log_line("change jobs in the store") => line,
        () = works => return,
    };
    assert!(ends.contains(": can change jobs in the store again failures=3"), "{ends}");
    assert_eq!(daemon.stop().await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn closed_stderr_does_not_stop_daemon() {
    let daemon =
        DaemonProcess::spawn(with_closed_stderr(foreman(&["serve", "--listen", "127.0.0.1:0", "--backend", "echo"])))
            .await;
    for _ in 0..2 {
        assert_eq!(run(daemon.foreman(&["submit", "--model", "m", "hi"])).await.code, Some(0));
    }
    assert_eq!(daemon.stop().await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn unread_stderr_does_not_stop_daemon() {
    let (_reader, stderr) = full_pipe();
    let mut command = foreman(&["serve", "--listen", "127.0.0.1:0", "--backend", "echo"]);
    command.env("RUST_LOG", "trace").stderr(stderr);
    let daemon = DaemonProcess::spawn(command).await;
    assert_eq!(run(daemon.foreman(&["submit", "--model", "m", "hi"])).await.code, Some(0));
    assert_eq!(daemon.stop().await.0, Some(0));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_reader, stderr) = full_pipe();
    let mut command = foreman(&["serve", "--listen", &taken.local_addr().unwrap().to_string(), "--backend", "echo"]);
    command.stderr(stderr);
    assert_eq!(run(command).await.code, Some(74));
}

#[tokio::test]
async fn only_configured_tokens_are_accepted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "two\nthree\n").unwrap();
    let path = file.path().to_str().unwrap();
    let daemon = DaemonProcess::start(&["--backend", "echo", "--token", "one", "--token-file", path]).await;
    for (token, code) in [("one", 0), ("two", 0), ("three", 0), ("four", 3)] {
        assert_eq!(run(daemon.foreman(&["models", "--token", token])).await.code, Some(code), "{token}");
    }
}

#[tokio::test]
async fn options_come_from_environment() {
    let mut command = foreman(&["serve"]);
    command
        .env("FOREMAN_LISTEN", "127.0.0.1:0")
        .env("FOREMAN_BACKEND", "echo")
        .env("FOREMAN_TOKEN", "one")
        .env("FOREMAN_WEBHOOK_SECRET", "a secret");
    let daemon = DaemonProcess::spawn(command).await;
    assert_eq!(run(daemon.foreman(&["models"])).await.code, Some(3));
    let args = ["submit", "--token", "one", "--webhook-secret", "a secret", "--model", "m", "hi"];
    let outcome = run(daemon.foreman(&args)).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// A model server that accepts connections and never responds.
#[tokio::test]
async fn backend_limits_end_attempts() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = format!("ollama=http://{}", silent.local_addr().unwrap());
    for (flag, attempts, error) in [
        ("--backend-first-stall", "1", "no data from the model server for 50 ms"),
        ("--backend-attempt-timeout", "3", "attempt timed out after 50 ms"),
    ] {
        let daemon = DaemonProcess::start(&["--backend", &backend, "--attempts", attempts, flag, "50ms"]).await;
        let outcome = run(daemon.foreman(&["submit", "--model", "m", "hi"])).await;
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(error), "{outcome:?}");
    }
}

#[tokio::test]
async fn port_in_use_exits_with_74() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = run(foreman(&["serve", "--backend", "echo", "--listen", &address])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{outcome:?}");
    assert!(outcome.stderr.contains(&format!("cannot listen on {address}: ")), "{outcome:?}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn database_that_is_not_there_exits_with_74_without_its_password() {
    let url = "postgres://u:secret@%2Fnowhere/d";
    let outcome = run(foreman(&["serve", "--backend", "ollama", "--listen", "127.0.0.1:0", "--store", url])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{outcome:?}");
    assert!(outcome.stderr.contains("cannot connect to store postgres://u@/nowhere:5432/d"), "{outcome:?}");
    assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
}

#[tokio::test]
async fn invalid_url_is_refused_without_its_password() {
    for (variable, url) in [
        ("FOREMAN_STORE", "postgress://u:secret@h/d"),
        ("FOREMAN_STORE", "mysql://u:secret@h/d"),
        ("FOREMAN_STORE", "postgres//u:secret@h/d"),
        ("FOREMAN_STORE", "postgres://u:p@secret/w#rd@127.0.0.1/d"),
        ("FOREMAN_BACKEND", "opnai=http://u:secret@h"),
        ("FOREMAN_BACKEND", "openai=http://u:secret@h"),
    ] {
        let mut command = foreman(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("FOREMAN_BACKEND", "ollama").env(variable, url);
        let outcome = run(command).await;
        let option = if variable == "FOREMAN_STORE" { "invalid --store: " } else { "invalid --backend: " };
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{url} {outcome:?}");
        assert!(outcome.stderr.contains(option) && !outcome.stderr.contains("secret"), "{url} {outcome:?}");
    }
}

/// It accepts connections and never responds.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn silent_database_exits_with_74() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/d?connect_timeout=1", silent.local_addr().unwrap());
    let outcome = run(foreman(&["serve", "--backend", "ollama", "--listen", "127.0.0.1:0", "--store", &url])).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{outcome:?}");
    assert!(outcome.stderr.contains("/d: database does not answer"), "{outcome:?}");
}

#[tokio::test]
async fn damaged_store_exits_with_74() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("jobs.db");
    std::fs::write(&store, "not a database, and longer than the header of one".repeat(100)).unwrap();
    let args = ["serve", "--backend", "echo", "--listen", "127.0.0.1:0", "--store", store.to_str().unwrap()];
    let outcome = run(foreman(&args)).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{outcome:?}");
    assert!(outcome.stderr.contains("jobs.db: store file damaged"), "{outcome:?}");
}

#[tokio::test]
async fn unreadable_file_exits_with_74() {
    for (args, message) in [
        (["--backend-key-file", "/nowhere/key"], "cannot read /nowhere/key: "),
        (["--token-file", "/nowhere/token"], "cannot read /nowhere/token: "),
        (["--webhook-secret-file", "/nowhere/secret"], "cannot read /nowhere/secret: "),
        (["--webhook-roots", "/nowhere/roots"], "cannot read /nowhere/roots: "),
        (["--store", "/nowhere/jobs.db"], "cannot open /nowhere/jobs.db: no such directory: /nowhere"),
    ] {
        let command = ["serve", "--backend", "openai=http://127.0.0.1:1", "--listen", "127.0.0.1:0"];
        let outcome = run(foreman(&[&command[..], &args].concat())).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{args:?} {outcome:?}");
        assert!(outcome.stderr.contains(message), "{args:?} {outcome:?}");
    }
}

#[tokio::test]
async fn invalid_option_exits_with_2() {
    for (args, message) in [
        (&[][..], "--backend"),
        (&["--backend", "llama"], "must be echo, ollama, ollama=URL or openai=URL"),
        (&["--backend", "ollama=nowhere"], "invalid --backend: "),
        (&["--backend", "ollama", "--backend-stall", "0s"], "must be greater than zero"),
        (
            &["--backend", "ollama", "--backend-response-limit", "0"],
            "invalid --backend-response-limit: must not be zero",
        ),
        (&["--backend", "echo", "--workers", "0"], "invalid --workers: must be at least 1"),
        (&["--backend", "echo", "--embeds-at-once", "0"], "invalid --embeds-at-once: must be at least 1"),
        (&["--backend", "echo", "--token", "a b"], "invalid token: must be visible ASCII"),
        (
            &["--backend", "echo", "--token", "a", "--admin-token", "a"],
            "invalid admin token: must differ from the other tokens",
        ),
        (&["--backend", "echo", "--allow-webhook-hosts", "*"], "invalid --allow-webhook-hosts: "),
        (&["--backend", "echo", "--store", ""], "must not be empty"),
        (&["--backend", "echo", "--keep", "0s"], "must be greater than zero"),
        (&["--backend", "echo", "--loaded-wait", "5"], "must be a duration such as 90s"),
        (
            &["--backend", "echo", "--loaded-wait", "0", "--embeds-at-once", "0"],
            "invalid --embeds-at-once: must be at least 1",
        ),
        (&["--backend", "echo", "--model-batch", "0"], "invalid --model-batch: must be at least 1"),
        #[cfg(feature = "postgres")]
        (&["--backend", "ollama", "--store", "postgres://"], "invalid --store: "),
        #[cfg(feature = "postgres")]
        (&["--backend", "a:ollama", "--backend", "b:echo", "--store", "postgres://h/d"], "--allow-echo permits that"),
        #[cfg(feature = "postgres")]
        (&["--backend", "echo", "--allow-echo", "--store", "postgres://"], "invalid --store: "),
        #[cfg(feature = "postgres")]
        (&["--backend", "echo", "--lease", "5s"], "--lease has an effect only with a database that daemons share"),
        #[cfg(feature = "postgres")]
        (&["--backend", "echo", "--store", "jobs.db", "--name", "a"], "(the store is jobs.db)"),
        (&["--backend", "echo", "--listen", "localhost:80"], "must be an IP address and a port"),
    ] {
        let mut command = foreman(&[&["serve"], args].concat());
        command.env("FOREMAN_LISTEN", "127.0.0.1:0");
        let outcome = run(command).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{args:?} {outcome:?}");
        assert!(outcome.stderr.contains(message), "{args:?} {outcome:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn several_backends_have_names_workers_and_models() {
    let ollama = |model: &'static str| {
        let tags = serde_json::json!({ "models": [{ "name": model }, { "name": "both" }] });
        serve(axum::Router::new().route("/api/tags", get(async move || axum::Json(tags))))
    };
    let (left, right) = (ollama("left").await, ollama("right").await);
    let backends = [format!("a:ollama=http://{left}"), format!("b:ollama=http://{right}")];
    let daemon = DaemonProcess::start(&[
        "--backend",
        &backends[0],
        "--backend",
        &backends[1],
        "--workers",
        "2",
        "--workers",
        "b=3",
    ])
    .await;
    let models = run(daemon.foreman(&["models"])).await;
    let rows: Vec<Vec<_>> = models.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows,
        [vec!["NAME", "BYTES", "MODIFIED", "BACKENDS"], vec!["left", "a"], vec!["both", "a,b"], vec!["right", "b"],]
    );
    let refused = run(daemon.foreman(&["submit", "--model", "other", "hi"])).await;
    assert!(refused.stderr.contains("no backend has the model other"), "{refused:?}");
    assert_eq!(daemon.stop().await.0, Some(0));
    let refused = run(foreman(&["serve", "--backend", "a:echo", "--backend", "a:echo"])).await;
    assert!(refused.code == Some(2) && refused.stderr.contains("two of them have the name `a`"), "{refused:?}");
}
