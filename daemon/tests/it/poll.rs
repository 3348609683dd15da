use foreman_daemon::Daemon;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::gate::Gate;
use super::raw::{get, read, request, submit};

/// Begins a poll; the daemon has it when this returns or soon after.
async fn begin(daemon: &Daemon, id: &str, headers: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(daemon.local_addr()).await.unwrap();
    stream.write_all(request("GET", &format!("/jobs/{id}"), headers, "").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_held_poll_is_answered_when_the_job_ends() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    let id = submit(&daemon, "a").await;
    gate.begun().await;
    let held = begin(&daemon, &id, &["Prefer: wait=30"]).await;
    // It is held: another poll that came later is answered before.
    assert_eq!(get(&daemon, &format!("/jobs/{id}"), &[]).await.json()["state"], "running");
    gate.open(1);
    let answer = read(held).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("done")));
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(answer.header("etag"), Some("W/\"done-1\""));
}

#[tokio::test]
async fn a_held_poll_is_answered_when_the_state_is_another_than_the_one_seen() {
    let (gate, backend) = Gate::new();
    let daemon = Daemon::builder().backend(backend).start().await.unwrap();
    submit(&daemon, "a").await;
    gate.begun().await;
    let id = submit(&daemon, "b").await;
    let queued = get(&daemon, &format!("/jobs/{id}"), &[]).await;
    assert_eq!(queued.json()["state"], "queued");
    assert_eq!(queued.header("preference-applied"), None);
    let seen = format!("If-None-Match: {}", queued.header("etag").unwrap());
    let held = begin(&daemon, &id, &["Prefer: wait=30", &seen]).await;
    gate.open(1);
    gate.begun().await;
    let running = read(held).await;
    assert_eq!((running.status, running.json()["state"].as_str()), (200, Some("running")));
    // What was seen is another state already.
    let at_once = get(&daemon, &format!("/jobs/{id}"), &["Prefer: wait=30", &seen]).await;
    assert_eq!(at_once.json()["state"], "running");
    assert_eq!(at_once.header("preference-applied"), Some("wait=30"));
}

#[tokio::test(start_paused = true)]
async fn a_held_poll_is_answered_when_the_time_is_up() {
    let (gate, backend) = Gate::new();
    let daemon =
        Daemon::builder().backend(backend).max_long_poll(std::time::Duration::from_secs(9)).start().await.unwrap();
    let id = submit(&daemon, "a").await;
    gate.begun().await;
    for (wait, applied) in [("0", "wait=0"), ("5", "wait=5"), ("3600", "wait=9")] {
        let answer = get(&daemon, &format!("/jobs/{id}"), &[&format!("Prefer: respond-async, wait={wait}")]).await;
        assert_eq!((answer.status, answer.json()["state"].as_str()), (200, Some("running")));
        assert_eq!(answer.header("preference-applied"), Some(applied));
    }
}

#[tokio::test]
async fn a_poll_that_sees_nothing_new_is_still_answered_in_full() {
    let daemon = Daemon::start().await.unwrap();
    let id = submit(&daemon, "a").await;
    let path = format!("/jobs/{id}");
    let done = get(&daemon, &path, &["Prefer: wait=30"]).await;
    let seen = format!("If-None-Match: {}", done.header("etag").unwrap());
    for headers in [&[seen.as_str()][..], &[&seen, "Prefer: wait=30"]] {
        let again = get(&daemon, &path, headers).await;
        assert_eq!((again.status, again.json()), (200, done.json()));
    }
    assert_eq!(get(&daemon, "/jobs/7", &["Prefer: wait=30"]).await.refused(404), "no such job");
    assert_eq!(daemon.stats().polls, 3);
}
