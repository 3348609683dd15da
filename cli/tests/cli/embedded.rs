use crate::support::{foreman, ollama, run, serve};

#[tokio::test]
async fn submit_without_daemon_uses_echo_backend() {
    let outcome = run(foreman(&["submit", "--embedded", "--model", "any", "Why is the sky blue?"])).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, "echo (this is no model): Why is the sky blue?\n");
    assert!(outcome.stderr.contains("using an embedded daemon with the echo backend, without a model"), "{outcome:?}");
    assert!(!outcome.job_id().is_empty() && !outcome.stderr.contains("foreman wait"), "{outcome:?}");
}

#[tokio::test]
async fn submit_without_daemon_uses_reachable_ollama() {
    let address = serve(ollama()).await.to_string();

    let mut command = foreman(&["submit", "--embedded", "--model", "m", "Is it?"]);
    // The flag overrides the variable.
    command.env("OLLAMA_HOST", &address).env("FOREMAN_URL", "http://127.0.0.1:1");
    let outcome = run(command).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "it is\n"), "{outcome:?}");
    assert!(
        outcome.stderr.contains(&format!("using an embedded daemon with Ollama at http://{address}")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn script_without_url_exits_with_2() {
    for args in [&["submit", "--model", "m", "hi"][..], &["models"], &["embed", "--model", "m", "hi"]] {
        let outcome = run(foreman(args)).await;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{outcome:?}");
        for hint in ["--url", "FOREMAN_URL", "--embedded"] {
            assert!(outcome.stderr.contains(hint), "{outcome:?}");
        }
    }
    for args in [&["models", "--embedded"][..], &["embed", "--embedded", "--model", "m", "hi"]] {
        assert_eq!(run(foreman(args)).await.code, Some(0), "{args:?}");
    }
    let both = run(foreman(&["models", "--embedded", "--url", "http://127.0.0.1:1"])).await;
    assert_eq!(both.code, Some(2), "{both:?}");
}

#[tokio::test]
async fn commands_on_existing_jobs_require_url() {
    for args in [&["wait", "7"][..], &["status", "7"], &["cancel", "7"], &["jobs"]] {
        let outcome = run(foreman(args)).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert_eq!(outcome.stderr, "foreman: no daemon URL; set --url or FOREMAN_URL\n");
    }
}
