//! A wait that its caller does not poll costs the other waits nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::{Client, SubmitRequest};
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, timeout};
use tower::{ServiceExt as _, service_fn};

use crate::support::{call_wait, polling_wait};

/// An HTTP client whose daemon takes 10 ms for each response and whose jobs are done after the third poll.
fn daemon() -> impl foreman_client::api::HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static {
    let (jobs, polls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    service_fn(move |request: Request<Full<Bytes>>| {
        let (jobs, polls) = (Arc::clone(&jobs), Arc::clone(&polls));
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let (status, body) = if *request.method() == Method::POST {
                (202, format!(r#"{{"job_id":"{}"}}"#, jobs.fetch_add(1, Relaxed)))
            } else {
                let id = request.uri().path().trim_start_matches("/jobs/").to_owned();
                let state = if polls.fetch_add(1, Relaxed) % 3 == 2 { "done" } else { "running" };
                (200, format!(r#"{{"job_id":"{id}","state":"{state}"}}"#))
            };
            Response::builder().status(status).body(Full::<Bytes>::from(body))
        }
    })
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn unpolled_waits_do_not_starve_another() {
    let client = Client::builder("http://daemon.test").polling().build_with(daemon()).await.unwrap();
    let mut waits = stream::iter(0..1_000).map(|_| client.submit(request())).buffer_unordered(100);
    for _ in 0..20 {
        waits.next().await.unwrap().unwrap();
        // Nobody polls the 99 other waits now, and some of them have a poll in flight.
        let started = Instant::now();
        timeout(Duration::from_secs(60), client.submit(request())).await.expect("starved").unwrap();
        let unrelated = tokio::spawn({
            let client = client.clone();
            async move { client.submit(request()).await }
        });
        timeout(Duration::from_secs(60), unrelated).await.expect("starved").unwrap().unwrap();
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test(start_paused = true)]
async fn leaked_waits_do_not_starve_another() {
    let client = Client::builder("http://daemon.test").polling().build_with(daemon()).await.unwrap();
    for _ in 0..500 {
        let mut wait = Box::pin(client.submit(request()));
        // Until its first poll is in flight.
        assert!(timeout(Duration::from_millis(15), &mut wait).await.is_err());
        std::mem::forget(wait);
    }
    timeout(Duration::from_secs(60), client.submit(request())).await.expect("starved").unwrap();
}

#[tokio::test(start_paused = true)]
async fn unpolled_sender_does_not_block_clones_for_ever() {
    for keys in [true, false] {
        let (wait, mut daemon) = polling_wait();
        learn_idempotency(&wait, &mut daemon, keys).await;
        let request = crate::support::request();
        let mut first = tokio_test::task::spawn(call_wait(&wait, request.clone()).await);
        assert!(first.poll().is_pending());
        // Its caller never sees the response.
        daemon.next_post().await.accept_with_key("7");
        let clone = tokio::spawn(wait.clone().oneshot(request.clone()));
        if keys {
            daemon.next_post().await.accept_with_key("7");
            daemon.next_get().await.respond_state("done");
            assert_eq!(clone.await.unwrap().unwrap().job_id().as_str(), "7");
        } else {
            let error = timeout(Duration::from_secs(600), clone).await.expect("blocked").unwrap().unwrap_err();
            assert!(error.is_maybe_submitted(), "{error}");
        }
    }
}

async fn learn_idempotency(
    wait: &crate::support::MockWait,
    daemon: &mut crate::support::ScriptedDaemon,
    supported: bool,
) {
    let waiting = tokio::spawn(wait.clone().oneshot(crate::support::request()));
    let post = daemon.next_post().await;
    if supported {
        post.accept_with_key("1");
    } else {
        post.accept("1");
    }
    daemon.next_get().await.respond_state("done");
    waiting.await.unwrap().unwrap();
}
