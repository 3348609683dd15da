//! A database whose disk is full.

use std::iter::repeat_with;

use foreman_daemon::{Backend, BoxError, Chat, ChatResponse, Daemon};
use tokio::sync::{Semaphore, mpsc};
use tower::service_fn;

use super::postgres_server::PostgresServer;
use super::raw::{RawResponse, accepted, ended, get, post, status};
use crate::eventually::{bounded, eventually};

/// Random text, which the database cannot compress, and which no page has room for.
fn large() -> String {
    repeat_with(fastrand::alphanumeric).take(50_000).collect()
}

async fn submit_large(daemon: &Daemon) -> RawResponse {
    let body = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": large()}]});
    post(daemon, "/jobs", &[], &body.to_string()).await
}

/// A refusal with this, from the statement that stores the end of a job.
const END_REFUSED: &str = "STATEMENT:  UPDATE jobs SET state = $3, result = $4";

#[tokio::test]
async fn full_disk_refuses_submissions_and_loses_nothing() {
    let Some(server) = PostgresServer::start_on_disk() else { return };
    let url = server.schema();
    let (begin, mut begun) = mpsc::unbounded_channel();
    let open: &'static Semaphore = Box::leak(Box::new(Semaphore::new(0)));
    let backend = service_fn(move |chat: Chat| {
        let _ = begin.send(chat.attempt());
        async move {
            open.acquire().await?.forget();
            Ok::<_, BoxError>(ChatResponse::from_value(&large())?)
        }
    });
    let daemon = Daemon::builder().postgres(url).backend(Backend::new(backend)).start().await.unwrap();
    let mut jobs = vec![accepted(&submit_large(&daemon).await)];
    assert_eq!(bounded(begun.recv()).await, Some(1));

    server.fill_disk();
    let refused = async {
        loop {
            let response = submit_large(&daemon).await;
            if response.status != 202 {
                return response;
            }
            jobs.push(accepted(&response));
        }
    };
    let refused = bounded(refused).await;
    assert_eq!((refused.status, refused.asks_to_wait(10)), (503, true), "{refused:?}");
    assert!(refused.body.contains("database disk full"), "{refused:?}");
    // The job ends, and its end cannot be stored.
    open.add_permits(1);
    eventually("refused an end", || server.log().contains(END_REFUSED)).await;
    assert_eq!(status(&daemon, &jobs[0]).await["state"], "running");
    assert_eq!(submit_large(&daemon).await.status, 503);
    assert_eq!(get(&daemon, "/healthz", &[]).await.status, 200);

    server.empty_disk();
    open.add_permits(jobs.len());
    for job in &jobs {
        let ended = bounded(ended(&daemon, job)).await;
        assert_eq!((&ended["state"], &ended["attempt"]), (&"done".into(), &1.into()));
        assert_eq!(ended["result"].as_str().unwrap().len(), 50_000);
    }
    let after = async { while submit_large(&daemon).await.status != 202 {} };
    bounded(after).await;
}
