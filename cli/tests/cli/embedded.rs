use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::support::{foreman, run};

#[tokio::test]
async fn the_first_command_a_newcomer_types_works_and_says_that_it_echoes() {
    let ended = run(foreman(&["submit", "--model", "any", "Why is the sky blue?"])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, "echo (this is no model): Why is the sky blue?\n");
    assert!(ended.stderr.contains("a daemon in this process echoes, without a model"), "{ended:?}");
    assert!(!ended.job_id().is_empty() && !ended.stderr.contains("foreman wait"), "{ended:?}");
}

#[tokio::test]
async fn an_ollama_that_answers_is_asked() {
    let chat = r#"{"model":"m","message":{"role":"assistant","content":"it is"},"done":true}"#;
    let ollama = axum::Router::new()
        .route("/api/tags", get(async || r#"{"models":[]}"#))
        .route("/api/chat", post(async move || format!("{chat}\n")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move { axum::serve(listener, ollama).await });

    let mut command = foreman(&["submit", "--model", "m", "Is it?"]);
    command.env("OLLAMA_HOST", &address);
    let ended = run(command).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "it is\n"), "{ended:?}");
    assert!(ended.stderr.contains(&format!("a daemon in this process asks Ollama at http://{address}")), "{ended:?}");
    server.abort();
}

#[tokio::test]
async fn what_needs_a_daemon_that_is_there_asks_for_one() {
    for args in [&["wait", "7"][..], &["status", "7"], &["cancel", "7"], &["jobs"]] {
        let ended = run(foreman(args)).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.stderr, "foreman: which daemon? Set --url or FOREMAN_URL\n");
    }
}
