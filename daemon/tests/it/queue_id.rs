//! The id of the queue in requests and responses.

use foreman_daemon::Daemon;
#[cfg(feature = "postgres")]
use foreman_daemon::Echo;

#[cfg(feature = "postgres")]
use super::postgres_server::server;
use super::raw::{RawResponse, get, post};

const BODY: &str = r#"{"model":"m"}"#;

fn queue_of(response: &RawResponse) -> String {
    response.header("foreman-queue").unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

#[tokio::test]
async fn each_response_names_the_queue_and_a_request_for_another_one_does_nothing() {
    let (daemon, other) = (Daemon::start().await.unwrap(), Daemon::start().await.unwrap());
    let queue = queue_of(&get(&daemon, "/jobs", &[]).await);
    let theirs = queue_of(&get(&other, "/jobs", &[]).await);
    assert_ne!(queue, theirs);
    for path in ["/api/tags", "/api/boxes", "/jobs/7", "/nowhere", "/jobs?limit=0"] {
        assert_eq!(queue_of(&get(&daemon, path, &[]).await), queue, "{path}");
    }
    let (ours, theirs) = (format!("Foreman-Queue: {queue}"), format!("Foreman-Queue: {theirs}"));
    for headers in [&[&*theirs][..], &[&*ours, &*theirs]] {
        let refused = post(&daemon, "/jobs", headers, BODY).await;
        assert_eq!(
            (queue_of(&refused), refused.refused(421)),
            (queue.clone(), "this daemon has another queue".to_owned())
        );
    }
    assert_eq!(daemon.stats().accepted, 0);
    assert_eq!(post(&daemon, "/jobs", &[&ours], BODY).await.status, 202);
}

#[tokio::test]
async fn queue_is_not_named_without_the_token() {
    let daemon = Daemon::builder().token("hush").start().await.unwrap();
    for path in ["/jobs", "/api/boxes"] {
        assert_eq!(get(&daemon, path, &["Foreman-Queue: 7"]).await.header("foreman-queue"), None, "{path}");
    }
    let named = get(&daemon, "/jobs", &["Authorization: Bearer hush"]).await;
    assert_eq!((named.status, queue_of(&named).len()), (200, 36));
}

#[tokio::test]
async fn queue_in_a_file_has_one_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let daemon = Daemon::builder().store(folder.path().join("jobs.db")).start().await.unwrap();
        ids.push(queue_of(&get(&daemon, "/jobs", &[]).await));
        daemon.shutdown().await;
    }
    assert_eq!(ids[0], ids[1]);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn daemons_that_share_a_queue_have_one_id() {
    let Some(server) = server() else { return };
    let mut ids = Vec::new();
    let (url, other) = (server.schema(), server.schema());
    for url in [&url, &url, &other] {
        let daemon = Daemon::builder().postgres(url).backend(Echo::new()).start().await.unwrap();
        ids.push(queue_of(&get(&daemon, "/jobs", &[]).await));
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
}
