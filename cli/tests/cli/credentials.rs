use crate::support::{Bench, run};

const TOKEN: &str = "token-of-the-test-7";

#[tokio::test]
async fn a_token_comes_from_a_flag_a_file_or_the_environment_in_this_order() {
    let bench = Bench::new(|builder| builder.token(TOKEN)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let path = file.path().to_str().unwrap();

    assert_eq!(bench.run(&["models"]).await.code, Some(3));
    assert_eq!(bench.run(&["models", "--token", TOKEN]).await.code, Some(0));
    assert_eq!(bench.run(&["models", "--token-file", path]).await.code, Some(0));
    for (name, value) in [("FOREMAN_TOKEN", TOKEN), ("FOREMAN_TOKEN_FILE", path)] {
        let mut command = bench.foreman(&["models"]);
        command.env(name, value);
        assert_eq!(run(command).await.code, Some(0), "{name}");
    }
    let mut command = bench.foreman(&["models", "--token-file", path]);
    command.env("FOREMAN_TOKEN", "wrong");
    assert_eq!(run(command).await.code, Some(0));
    let mut command = bench.foreman(&["models", "--token", "wrong"]);
    command.env("FOREMAN_TOKEN", TOKEN);
    assert_eq!(run(command).await.code, Some(3));
}

#[tokio::test]
async fn a_token_is_never_printed() {
    let bench = Bench::new(|builder| builder.token(TOKEN)).await;
    for args in [
        &["submit", "--model", "m", "hi"][..],
        &["submit", "--help"],
        &["--help"],
        &["serve", "--help"],
        &["jobs", "x"],
    ] {
        let mut command = bench.foreman(args);
        command.env("FOREMAN_TOKEN", TOKEN).env("FOREMAN_WEBHOOK_SECRET", TOKEN).env("RUST_LOG", "trace");
        if args.contains(&"--help") {
            command.env("FOREMAN_URL", format!("http://user:{TOKEN}@h")).env("FOREMAN_BACKEND", TOKEN);
        }
        let ended = run(command).await;
        assert!(!ended.stdout.contains(TOKEN) && !ended.stderr.contains(TOKEN), "{args:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_a_token_is_status_2() {
    let bench = Bench::new(|builder| builder.token(TOKEN)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(bench.run(&["models", "--token-file", path]).await.code, Some(2));
    assert_eq!(bench.run(&["models", "--token-file", "/nowhere"]).await.code, Some(2));
    assert_eq!(bench.run(&["models", "--token-file", path, "--token", TOKEN]).await.code, Some(2));
}

#[tokio::test]
async fn events_are_verified_with_the_secret() {
    let bench = Bench::new(|builder| builder.webhook_secret("one secret")).await;
    for secret in ["one secret", "another"] {
        let mut command = bench.foreman(&["submit", "--model", "m", "hi"]);
        command.env("FOREMAN_WEBHOOK_SECRET", secret);
        assert_eq!(run(command).await.code, Some(0), "{secret}");
    }
}
