use foreman_client::Artifact;
use foreman_daemon::{Backend, Chat};
use tower::service_fn;

use crate::support::{Bench, nobody, run, said};

fn drawing(names: &'static [&'static str]) -> Backend {
    Backend::new(service_fn(async move |chat: Chat| {
        let mut answer = said(&chat, "drawn")?;
        answer.artifacts = names.iter().map(|name| Artifact::new(*name, "text/plain", name.as_bytes())).collect();
        Ok::<_, foreman_client::BoxError>(answer)
    }))
}

#[tokio::test]
async fn artifacts_are_saved_and_none_outside_of_the_directory() {
    let bench = Bench::new(|builder| builder.backend(drawing(&["../out", "a/b.txt", "/tmp/out"]))).await;
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("place");
    let args = ["submit", "--model", "m", "--artifacts", place.to_str().unwrap(), "draw"];
    let ended = bench.run(&args).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "drawn\n"), "{ended:?}");
    assert!(ended.stderr.contains(r#"artifact "../out" is not saved"#), "{ended:?}");
    assert_eq!(std::fs::read_to_string(place.join("a/b.txt")).unwrap(), "a/b.txt");
    assert!(!directory.path().join("out").exists());
}

#[tokio::test]
async fn waiting_again_saves_what_is_missing() {
    let bench = Bench::new(|builder| builder.backend(drawing(&["a.txt", "b.txt"]))).await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().to_str().unwrap();
    let ended = bench.run(&["submit", "--model", "m", "--artifacts", path, "draw"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    std::fs::remove_file(place.path().join("a.txt")).unwrap();
    let again = bench.run(&["wait", "--artifacts", path, ended.job_id()]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(std::fs::read_to_string(place.path().join("a.txt")).unwrap(), "a.txt");

    std::fs::write(place.path().join("b.txt"), "mine").unwrap();
    let refused = bench.run(&["wait", "--artifacts", path, ended.job_id()]).await;
    assert_eq!(refused.code, Some(74));
    assert_eq!(std::fs::read_to_string(place.path().join("b.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn artifacts_are_saved_though_nobody_reads_the_text() {
    let bench = Bench::new(|builder| builder.backend(drawing(&["a.txt"]))).await;
    let place = tempfile::tempdir().unwrap();
    let mut command = bench.foreman(&["submit", "--model", "m", "--artifacts", place.path().to_str().unwrap(), "draw"]);
    command.stdout(nobody());
    assert_eq!(run(command).await.code, Some(74));
    assert_eq!(std::fs::read_to_string(place.path().join("a.txt")).unwrap(), "a.txt");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_told_before_the_job_is_submitted() {
    let bench = Bench::new(|builder| builder.backend(drawing(&["a.txt"]))).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let place = file.path().join("place");
    let ended = bench.run(&["submit", "--model", "m", "--artifacts", place.to_str().unwrap(), "draw"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(74), ""), "{ended:?}");
    assert_eq!(bench.daemon.stats().accepted, 0);
}
