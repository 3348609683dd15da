use foreman_daemon::Daemon;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::gate::Gate;
use super::raw::{get, read, request, submit};

/// Sends a poll, without waiting for the response.
async fn begin(daemon: &Daemon, id: &str, headers: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.local_addr()).await.unwrap();
    stream.write_all(request("GET", &format!("/jobs/{id}"), headers, "").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn long_poll_ends_with_job() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let id = submit(&daemon, "a").await;
    gate.begun().await;
    let long_poll = begin(&daemon, &id, &["Prefer: wait=30"]).await;
    // A later poll without `Prefer` gets its response first.
    assert_eq!(get(&daemon, &format!("/jobs/{id}"), &[]).await.json()["state"], "running");
    gate.open(1);
    let response = read(long_poll).await;
    assert_eq!((response.status, response.json()["state"].as_str()), (200, Some("done")));
    assert_eq!(response.header("preference-applied"), Some("wait=30"));
    assert_eq!(response.header("etag"), Some("W/\"done-1\""));
}

#[tokio::test]
async fn long_poll_ends_with_new_state() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    submit(&daemon, "a").await;
    gate.begun().await;
    let id = submit(&daemon, "b").await;
    let queued = get(&daemon, &format!("/jobs/{id}"), &[]).await;
    assert_eq!(queued.json()["state"], "queued");
    assert_eq!(queued.header("preference-applied"), None);
    let seen = format!("If-None-Match: {}", queued.header("etag").unwrap());
    let long_poll = begin(&daemon, &id, &["Prefer: wait=30", &seen]).await;
    gate.open(1);
    gate.begun().await;
    let running = read(long_poll).await;
    assert_eq!((running.status, running.json()["state"].as_str()), (200, Some("running")));
    // The state already differs.
    let at_once = get(&daemon, &format!("/jobs/{id}"), &["Prefer: wait=30", &seen]).await;
    assert_eq!(at_once.json()["state"], "running");
    assert_eq!(at_once.header("preference-applied"), Some("wait=30"));
}

#[tokio::test(start_paused = true)]
async fn long_poll_ends_after_its_time() {
    let (gate, backend) = Gate::new();
    let daemon =
        Daemon::builder().backend(backend).max_long_poll(std::time::Duration::from_secs(9)).start().await.unwrap();
    let id = submit(&daemon, "a").await;
    gate.begun().await;
    for (wait, applied) in [("0", "wait=0"), ("5", "wait=5"), ("3600", "wait=9")] {
        let response = get(&daemon, &format!("/jobs/{id}"), &[&format!("Prefer: respond-async, wait={wait}")]).await;
        assert_eq!((response.status, response.json()["state"].as_str()), (200, Some("running")));
        assert_eq!(response.header("preference-applied"), Some(applied));
    }
}

#[tokio::test]
async fn unchanged_poll_has_full_body() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "a").await;
    let path = format!("/jobs/{id}");
    let done = get(&daemon, &path, &["Prefer: wait=30"]).await;
    let seen = format!("If-None-Match: {}", done.header("etag").unwrap());
    for headers in [&[seen.as_str()][..], &[&seen, "Prefer: wait=30"]] {
        let again = get(&daemon, &path, headers).await;
        assert_eq!((again.status, again.json()), (200, done.json()));
    }
    assert_eq!(get(&daemon, "/jobs/7", &["Prefer: wait=30"]).await.refused(404), "job not found");
    assert_eq!(daemon.stats().polls, 3);
}
