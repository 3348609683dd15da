use foreman_client::Artifact;
use foreman_daemon::{Backend, Chat};
use tower::service_fn;

use crate::support::{TestDaemon, chat_answer, closed_pipe, run};

fn artifacts_backend(names: &'static [&'static str]) -> Backend {
    Backend::new(service_fn(async move |chat: Chat| {
        let mut response = chat_answer(&chat, "drawn")?;
        response.artifacts = names.iter().map(|name| Artifact::new(*name, "text/plain", name.as_bytes())).collect();
        Ok::<_, foreman_client::BoxError>(response)
    }))
}

#[tokio::test]
async fn artifacts_are_saved_only_inside_the_directory() {
    let daemon =
        TestDaemon::new(|builder| builder.backend(artifacts_backend(&["../out", "a/b.txt", "/tmp/out"]))).await;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("place");
    let args = ["submit", "--model", "m", "--artifacts", target.to_str().unwrap(), "draw"];
    let outcome = daemon.run(&args).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), "drawn\n"), "{outcome:?}");
    assert!(outcome.stderr.contains(r#"artifact "../out" not saved"#), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(target.join("a/b.txt")).unwrap(), "a/b.txt");
    assert!(!directory.path().join("out").exists());
}

#[tokio::test]
async fn later_wait_saves_missing_artifacts() {
    let daemon = TestDaemon::new(|builder| builder.backend(artifacts_backend(&["a.txt", "b.txt"]))).await;
    let target = tempfile::tempdir().unwrap();
    let path = target.path().to_str().unwrap();
    let outcome = daemon.run(&["submit", "--model", "m", "--artifacts", path, "draw"]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    std::fs::remove_file(target.path().join("a.txt")).unwrap();
    let again = daemon.run(&["wait", "--artifacts", path, outcome.job_id()]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(std::fs::read_to_string(target.path().join("a.txt")).unwrap(), "a.txt");

    std::fs::write(target.path().join("b.txt"), "mine").unwrap();
    let refused = daemon.run(&["wait", "--artifacts", path, outcome.job_id()]).await;
    assert_eq!(refused.code, Some(74));
    assert_eq!(std::fs::read_to_string(target.path().join("b.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn artifacts_are_saved_if_stdout_is_closed() {
    let daemon = TestDaemon::new(|builder| builder.backend(artifacts_backend(&["a.txt"]))).await;
    let target = tempfile::tempdir().unwrap();
    let mut command =
        daemon.foreman(&["submit", "--model", "m", "--artifacts", target.path().to_str().unwrap(), "draw"]);
    command.stdout(closed_pipe());
    assert_eq!(run(command).await.code, Some(74));
    assert_eq!(std::fs::read_to_string(target.path().join("a.txt")).unwrap(), "a.txt");
}

#[tokio::test]
async fn directory_error_prevents_submission() {
    let daemon = TestDaemon::new(|builder| builder.backend(artifacts_backend(&["a.txt"]))).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = file.path().join("place");
    let outcome = daemon.run(&["submit", "--model", "m", "--artifacts", target.to_str().unwrap(), "draw"]).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(74), ""), "{outcome:?}");
    assert_eq!(daemon.handle.stats().accepted, 0);
}
