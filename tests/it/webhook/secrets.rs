//! Several daemons that share one receiver, each with a secret of its own.

use foreman_client::api::BaseUrl;
use foreman_client::source::RefusalReason;
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{Notifier, SubmitRequest};

use crate::support::{SECRET, WaitTask, WebhookHarness, request, seconds, spawn_wait};

/// A wait at a daemon that signs with one of these secrets, if there are any.
fn harness(notifier: &Notifier, secrets: &[&str]) -> WebhookHarness {
    let name: String = secrets.iter().copied().chain(["test"]).collect();
    let daemon: BaseUrl = format!("http://{name}").parse().unwrap();
    WebhookHarness::new(notifier.clone(), false, |layer| layer.daemon(daemon).webhooks(endpoint(notifier, secrets)))
}

fn endpoint(notifier: &Notifier, secrets: &[&str]) -> WebhookEndpoint {
    let endpoint = WebhookEndpoint::new(notifier.clone(), "http://here.test/events").unwrap();
    if secrets.is_empty() { endpoint } else { endpoint.with_secrets(secrets).unwrap() }
}

/// Submits job 7, which runs. Returns the wait and the callback URL.
async fn submit(harness: &mut WebhookHarness, request: &SubmitRequest) -> (WaitTask, String) {
    let waiting = spawn_wait(&harness.wait, request);
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    harness.daemon.settle().await;
    (waiting, url)
}

#[tokio::test(start_paused = true)]
async fn wait_ends_only_by_the_secret_of_its_daemon() {
    let notifier = Notifier::new();
    let (mut a, mut b) = (harness(&notifier, &["a"]), harness(&notifier, &["b"]));
    let (request_a, request_b) = (request(), request());
    let (waiting_a, url_a) = submit(&mut a, &request_a).await;
    let (waiting_b, url_b) = submit(&mut b, &request_b).await;
    // Both daemons have a job 7.
    for secret in [Some("b"), Some("c"), None] {
        assert_eq!(a.deliver(&url_a, "7", "done", secret).await, 401, "{secret:?}");
    }
    assert_eq!(b.deliver(&url_b, "7", "done", Some("a")).await, 401);
    assert_eq!(notifier.stats().refused(RefusalReason::Signature), 4);
    assert!(!waiting_a.is_finished() && !waiting_b.is_finished());

    assert_eq!(a.deliver(&url_a, "7", "done", Some("a")).await, 204);
    assert_eq!(b.deliver(&url_b, "7", "done", Some("b")).await, 204);
    for waiting in [waiting_a, waiting_b] {
        assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
    }
    assert_eq!(a.wait.stats().finished_by_webhook + b.wait.stats().finished_by_webhook, 2);
}

#[tokio::test(start_paused = true)]
async fn late_event_needs_the_secret_of_its_daemon_also_after_the_client_is_gone() {
    let notifier = Notifier::new();
    let (mut a, b) = (harness(&notifier, &["a"]), harness(&notifier, &["b"]));
    let request_a = request();
    let (waiting, url) = submit(&mut a, &request_a).await;
    assert_eq!(a.deliver(&url, "7", "done", Some("a")).await, 204);
    waiting.await.unwrap().unwrap();
    drop(request_a);
    assert_eq!(notifier.waiting(), 0);
    let late_events = async || {
        let mut statuses = Vec::new();
        for secret in [Some("a"), Some("b"), None] {
            statuses.push(b.deliver(&url, "7", "done", secret).await.as_u16());
        }
        statuses
    };
    assert_eq!(late_events().await, [204, 401, 401]);
    drop(a);
    assert_eq!(late_events().await, [204, 401, 401]);
    assert_eq!((notifier.stats().late, notifier.stats().refused(RefusalReason::Signature)), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn both_secrets_of_a_rotation_are_accepted() {
    let notifier = Notifier::new();
    let (mut a, _b) = (harness(&notifier, &["new", "old"]), harness(&notifier, &["b"]));
    for secret in ["new", "old"] {
        let request = request();
        let (waiting, url) = submit(&mut a, &request).await;
        assert_eq!(a.deliver(&url, "7", "done", Some("b")).await, 401);
        assert_eq!(a.deliver(&url, "7", "done", Some(secret)).await, 204);
        assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from an event");
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_of_the_receiver_are_for_clients_without_one() {
    let notifier = Notifier::new();
    let with = |secrets: &[&str]| {
        WebhookHarness::new(notifier.clone(), true, |layer| layer.webhooks(endpoint(&notifier, secrets)))
    };
    let (mut own, mut none) = (with(&["own"]), with(&[]));
    let (request_own, request_none) = (request(), request());
    let (waiting_own, url_own) = submit(&mut own, &request_own).await;
    let (waiting_none, url_none) = submit(&mut none, &request_none).await;
    assert_eq!(own.deliver(&url_own, "7", "done", Some(SECRET)).await, 401);
    assert_eq!(none.deliver(&url_none, "7", "done", Some("own")).await, 401);
    assert_eq!(own.deliver(&url_own, "7", "done", Some("own")).await, 204);
    assert_eq!(none.deliver(&url_none, "7", "done", Some(SECRET)).await, 204);
    waiting_own.await.unwrap().unwrap();
    waiting_none.await.unwrap().unwrap();
}

/// Its daemon does not sign, so an event is a reason to poll, whoever sent it.
#[tokio::test(start_paused = true)]
async fn unsigned_daemon_beside_a_signed_one_sends_hints() {
    let notifier = Notifier::new();
    let (_signed, mut unsigned) = (harness(&notifier, &["a"]), harness(&notifier, &[]));
    let request = request();
    let (waiting, url) = submit(&mut unsigned, &request).await;
    assert_eq!(unsigned.deliver(&url, "7", "done", None).await, 204);
    let poll = unsigned.daemon.next_get().await;
    assert_eq!(poll.at, seconds(0));
    poll.respond_state("done");
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "from a poll");
}

/// A submission that surely did not arrive goes on to another daemon: from then on only that one's secret counts.
#[tokio::test(start_paused = true)]
async fn submission_that_moves_has_the_secret_of_its_new_daemon() {
    let notifier = Notifier::new();
    let (mut a, mut b) = (harness(&notifier, &["a"]), harness(&notifier, &["b"]));
    let request = request();
    let refused = spawn_wait(&a.wait, &request);
    let post = a.daemon.next_post().await;
    let url_a = post.callback().unwrap();
    post.fail(std::io::ErrorKind::ConnectionRefused);
    assert!(refused.await.unwrap().unwrap_err().is_safe_to_resubmit());
    let (waiting, url_b) = submit(&mut b, &request).await;
    assert_eq!(a.deliver(&url_a, "7", "done", Some("a")).await, 204, "a late event");
    assert_eq!(b.deliver(&url_b, "7", "done", Some("a")).await, 401);
    assert!(!waiting.is_finished());
    assert_eq!(b.deliver(&url_b, "7", "done", Some("b")).await, 204);
    waiting.await.unwrap().unwrap();
}
