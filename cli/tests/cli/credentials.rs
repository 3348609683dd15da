use crate::support::{TestDaemon, run};

const TOKEN: &str = "token-of-the-test-7";

#[tokio::test]
async fn token_flag_overrides_file_and_file_overrides_environment() {
    let daemon = TestDaemon::new(|builder| builder.token(TOKEN)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let path = file.path().to_str().unwrap();

    assert_eq!(daemon.run(&["models"]).await.code, Some(3));
    assert_eq!(daemon.run(&["models", "--token", TOKEN]).await.code, Some(0));
    assert_eq!(daemon.run(&["models", "--token-file", path]).await.code, Some(0));
    for (name, value) in [("FOREMAN_TOKEN", TOKEN), ("FOREMAN_TOKEN_FILE", path)] {
        let mut command = daemon.foreman(&["models"]);
        command.env(name, value);
        assert_eq!(run(command).await.code, Some(0), "{name}");
    }
    let mut command = daemon.foreman(&["models", "--token-file", path]);
    command.env("FOREMAN_TOKEN", "wrong");
    assert_eq!(run(command).await.code, Some(0));
    let mut command = daemon.foreman(&["models", "--token", "wrong"]);
    command.env("FOREMAN_TOKEN", TOKEN);
    assert_eq!(run(command).await.code, Some(3));
}

#[tokio::test]
async fn token_is_not_printed() {
    let daemon = TestDaemon::new(|builder| builder.token(TOKEN)).await;
    for args in [
        &["submit", "--model", "m", "hi"][..],
        &["submit", "--help"],
        &["--help"],
        &["serve", "--help"],
        &["jobs", "x"],
    ] {
        let mut command = daemon.foreman(args);
        command.env("FOREMAN_TOKEN", TOKEN).env("FOREMAN_WEBHOOK_SECRET", TOKEN).env("RUST_LOG", "trace");
        if args.contains(&"--help") {
            command.env("FOREMAN_URL", format!("http://user:{TOKEN}@h")).env("FOREMAN_BACKEND", TOKEN);
        }
        let outcome = run(command).await;
        assert!(!outcome.stdout.contains(TOKEN) && !outcome.stderr.contains(TOKEN), "{args:?}");
    }
}

#[tokio::test]
async fn invalid_token_file_exits_with_2_and_unreadable_one_with_74() {
    let daemon = TestDaemon::new(|builder| builder.token(TOKEN)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(daemon.run(&["models", "--token-file", path]).await.code, Some(2));
    assert_eq!(daemon.run(&["models", "--token-file", "/nowhere"]).await.code, Some(74));
    assert_eq!(daemon.run(&["models", "--token-file", path, "--token", TOKEN]).await.code, Some(2));
}

#[tokio::test]
async fn job_completes_with_right_and_wrong_webhook_secret() {
    let daemon = TestDaemon::new(|builder| builder.webhook_secret("one secret")).await;
    for secret in ["one secret", "another"] {
        let mut command = daemon.foreman(&["submit", "--model", "m", "hi"]);
        command.env("FOREMAN_WEBHOOK_SECRET", secret);
        assert_eq!(run(command).await.code, Some(0), "{secret}");
    }
}
