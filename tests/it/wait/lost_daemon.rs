//! Daemons that do not respond, or seem not to.

use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{Client, EmbedRequest, Notifier};
use http::{Request, StatusCode};
use http_body_util::Full;
use tower::ServiceExt as _;

use crate::support::{SECRET, ScriptedDaemon, WebhookHarness, job_json, request, seconds, spawn_wait};

/// A daemon that does not respond sends no webhooks either.
#[tokio::test(start_paused = true)]
async fn lost_daemon_makes_waits_poll_until_it_responds() {
    let mut harness = WebhookHarness::signed();
    harness.prove_webhooks().await;
    let mut waits = Vec::new();
    for job in ["7", "8"] {
        waits.push(spawn_wait(&harness.wait, &request()));
        harness.daemon.next_post().await.accept(job);
    }
    // Neither is polled for 30 s. Others find that the daemon is gone.
    let start = harness.daemon.elapsed();
    for at in [0, 1] {
        tokio::time::sleep_until(tokio::time::Instant::now() + seconds(at)).await;
        let other = spawn_wait(&harness.wait, &request());
        harness.daemon.next_post().await.fail(std::io::ErrorKind::ConnectionRefused);
        assert!(other.await.unwrap().is_err());
    }
    for _ in 0..2 {
        let poll = harness.daemon.next_get().await;
        assert_eq!(poll.at - start, seconds(2), "{}", poll.job());
        poll.fail(std::io::ErrorKind::ConnectionRefused);
    }
    // It is back, and the waits rely on webhooks again.
    for _ in 0..2 {
        let poll = harness.daemon.next_get().await;
        assert!(poll.at - start <= seconds(4), "{:?}", poll.at - start);
        poll.respond_state("running");
    }
    harness.daemon.quiet_for(seconds(29)).await;
    waits.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A refusal is a response.
#[tokio::test(start_paused = true)]
async fn daemon_that_refuses_between_two_failures_is_not_lost() {
    for status in [401, 429, 500, 503] {
        let mut harness = WebhookHarness::signed();
        harness.prove_webhooks().await;
        let waiting = spawn_wait(&harness.wait, &request());
        harness.daemon.next_post().await.accept("7");
        for refused in [false, true, false] {
            let other = spawn_wait(&harness.wait, &request());
            let post = harness.daemon.next_post().await;
            if refused {
                post.respond(status, "{}");
            } else {
                post.fail(std::io::ErrorKind::ConnectionRefused);
            }
            assert!(other.await.unwrap().is_err());
            tokio::time::sleep(seconds(1)).await;
        }
        harness.daemon.quiet_for(seconds(10)).await;
        waiting.abort();
    }
}

/// It takes as long as the model.
#[tokio::test(start_paused = true)]
async fn daemon_that_embeds_slowly_is_not_lost() {
    let (http, mut daemon) = ScriptedDaemon::with_http();
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build().unwrap();
    let client = Client::builder("http://daemon.test").notifier(notifier).public_url("http://here.test/events");
    let client = client.request_timeout(seconds(5)).build_with(http).await.unwrap();
    let submit = || tokio::spawn(client.submit(request()));

    let first = submit();
    // It has no event stream.
    let post = daemon.skip_to_post().await;
    let url = post.callback().unwrap();
    post.accept("1");
    let body = job_json("1", "done", "");
    let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
    let event = Request::post(url).header("x-foreman-signature", signature).body(Full::<bytes::Bytes>::from(body));
    assert_eq!(receiver.oneshot(event.unwrap()).await.unwrap().status(), StatusCode::NO_CONTENT);
    first.await.unwrap().unwrap();

    let waiting = submit();
    daemon.skip_to_post().await.accept("2");
    let start = daemon.elapsed();
    for _ in 0..2 {
        let (embedded, request) =
            tokio::join!(client.embed(EmbedRequest::new("m", ["text"]).unwrap()), daemon.skip_to_post());
        assert!(embedded.unwrap_err().is_timeout());
        drop(request);
    }
    let poll = loop {
        let get = daemon.next_get().await;
        if get.uri.path() != "/events" {
            break get;
        }
    };
    assert!(poll.at - start >= seconds(25), "{:?}", poll.at - start);
    waiting.abort();
}
