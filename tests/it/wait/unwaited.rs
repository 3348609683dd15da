//! A submission that an `Api` sends without a wait around it.

use foreman_client::{Api, SubmitRequest};
use tower::ServiceExt as _;

use crate::support::{
    MockApi, ScriptedDaemon, WebhookHarness, bounded_paused, polling_wait_with, request, seconds, spawn_wait,
};

/// A wait over a scripted daemon, and the service below it.
fn wait_and_api() -> (crate::support::MockWait, MockApi, ScriptedDaemon) {
    let (api, daemon) = ScriptedDaemon::new();
    let layer = foreman_client::WaitLayer::builder(api.clone()).daemon(api.daemon_id());
    (tower::Layer::layer(&layer.build().unwrap(), api.clone()), api, daemon)
}

#[tokio::test(start_paused = true)]
async fn wait_attaches_to_what_the_bare_service_sent() {
    let (wait, api, mut daemon) = wait_and_api();
    let request = request();
    let sent = tokio::spawn(bounded_paused(api.oneshot(request.clone())));
    daemon.next_post().await.accept("7");
    assert_eq!(sent.await.unwrap().unwrap().job_id.as_str(), "7");
    assert_eq!(request.submission().job_id().unwrap().as_str(), "7");
    let waiting = spawn_wait(&wait, &request);
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn wait_follows_what_the_bare_service_is_sending() {
    let (wait, api, mut daemon) = wait_and_api();
    let request = request();
    let sent = tokio::spawn(bounded_paused(api.oneshot(request.clone())));
    let post = daemon.next_post().await;
    let waiting = spawn_wait(&wait, &request);
    daemon.quiet_for(seconds(5)).await;
    post.accept("7");
    assert!(sent.await.unwrap().is_ok());
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn outcome_of_the_bare_service_decides_about_a_wait() {
    // Refused: the wait submits.
    let (wait, api, mut daemon) = wait_and_api();
    let request = request();
    let sent = tokio::spawn(bounded_paused(api.clone().oneshot(request.clone())));
    daemon.next_post().await.respond(429, "");
    assert!(sent.await.unwrap().unwrap_err().is_safe_to_resubmit());
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());

    // Lost, or dropped: it may have arrived.
    for dropped in [false, true] {
        let request = crate::support::request();
        let sent = tokio::spawn(bounded_paused(api.clone().oneshot(request.clone())));
        let post = daemon.next_post().await;
        if dropped {
            sent.abort();
            assert!(sent.await.is_err());
        } else {
            post.reset();
            assert!(sent.await.unwrap().is_err());
        }
        assert!(spawn_wait(&wait, &request).await.unwrap().unwrap_err().is_maybe_submitted());
        daemon.quiet_for(seconds(100)).await;
    }
}

/// A request beside another one. The refusal of one shows nothing about the other.
#[tokio::test(start_paused = true)]
async fn refusal_beside_another_request_in_flight_is_not_unsent() {
    for waited in [true, false] {
        let (wait, api, mut daemon) = wait_and_api();
        let request = request();
        let first: tokio::task::JoinHandle<bool> = if waited {
            let waiting = spawn_wait(&wait, &request);
            tokio::spawn(async move { waiting.await.unwrap().unwrap_err().may_be_running() })
        } else {
            let sent = bounded_paused(api.clone().oneshot(request.clone()));
            tokio::spawn(async move { sent.await.unwrap_err().is_overloaded() })
        };
        let one = daemon.next_post().await;
        let beside = tokio::spawn(bounded_paused(api.oneshot(request.clone())));
        let other = daemon.next_post().await;
        one.respond(429, "");
        assert!(first.await.unwrap());
        // A clone is not sent a third time.
        let error = spawn_wait(&wait, &request).await.unwrap().unwrap_err();
        assert!(error.is_maybe_submitted(), "{error:?}");
        other.accept("7");
        assert!(beside.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn response_to_a_repeated_bare_submission_names_the_job() {
    let (wait, api, mut daemon) = wait_and_api();
    let request = request();
    let lost = tokio::spawn(bounded_paused(api.clone().oneshot(request.clone())));
    daemon.next_post().await.reset();
    assert!(lost.await.unwrap().is_err());
    let again = tokio::spawn(bounded_paused(api.oneshot(request.clone())));
    daemon.next_post().await.accept_with_key("7");
    assert!(again.await.unwrap().is_ok());
    let waiting = spawn_wait(&wait, &request);
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

/// It was sent without a callback URL, so no event can come.
#[tokio::test(start_paused = true)]
async fn wait_polls_for_what_was_sent_without_a_callback() {
    let mut harness = WebhookHarness::signed();
    let request = request();
    let sent = tokio::spawn(bounded_paused(harness.api().oneshot(request.clone())));
    let post = harness.daemon.next_post().await;
    assert_eq!(post.callback(), None);
    post.accept("7");
    sent.await.unwrap().unwrap();
    let waiting = spawn_wait(&harness.wait, &request);
    for _ in 0..4 {
        let poll = harness.daemon.next_get().await;
        assert!(poll.at < seconds(20));
        poll.respond_state("running");
    }
    assert_eq!(harness.notifier.waiting(), 0);
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn clone_is_not_sent_to_another_daemon_by_its_bare_service() {
    let (wait, mut daemon) = polling_wait_with(|layer| layer);
    let (other, mut other_daemon): (Api<_>, _) = ScriptedDaemon::at("http://other.test");
    let request: SubmitRequest = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    daemon.settle().await;
    let error = bounded_paused(other.oneshot(request)).await.unwrap_err();
    assert!(error.is_other_daemon() && error.daemon() == Some("http://daemon.test"), "{error:?}");
    other_daemon.quiet_for(seconds(10)).await;
    waiting.abort();
}
