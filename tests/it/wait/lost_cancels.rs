//! Abandoned submissions whose jobs have to be found before they are cancelled.

use foreman_client::wait::{WaitLayerBuilder, WebhookEndpoint};
use foreman_client::{DropPolicy, Notifier, WaitLayer};
use http::Method;
use tower::Layer as _;

use crate::support::{
    MockApi, ScriptedDaemon, WebhookHarness, assert_cancels, cancelling_wait, learn_idempotency, millis, request,
    seconds, spawn_wait,
};

/// The response is lost before the wait is dropped. The last holder is the wait, or a clone of the request.
#[tokio::test(start_paused = true)]
async fn submission_with_lost_response_is_cancelled_at_a_daemon_with_keys() {
    for (keys, webhooks, held) in
        [(true, true, false), (true, false, false), (true, false, true), (true, true, true), (false, false, true)]
    {
        let (api, mut daemon) = ScriptedDaemon::new();
        let mut layer = WaitLayer::builder(api.clone()).on_drop(DropPolicy::Cancel, api.clone());
        if keys {
            layer = layer.assume_idempotency();
        }
        if webhooks {
            layer = layer.webhooks(WebhookEndpoint::new(Notifier::new(), "http://here.test/events/").unwrap());
        }
        let wait = layer.build().unwrap().layer(api);
        let request = request();
        let waiting = spawn_wait(&wait, &request);
        let request = held.then_some(request);
        let post = daemon.next_post().await;
        let (headers, body) = (post.headers.clone(), post.body.clone());
        post.reset();
        daemon.settle().await;
        // Without webhooks it has ended by itself.
        assert_ne!(waiting.is_finished(), webhooks);
        waiting.abort();
        if let Some(request) = request {
            daemon.quiet_for(seconds(1)).await;
            assert_cancels(&wait, 0, 0);
            drop(request);
        }
        if keys {
            let again = daemon.next_post().await;
            assert_eq!((&again.headers, &again.body), (&headers, &body));
            again.accept_with_key("7");
            let cancel = daemon.next().await;
            assert_eq!((&cancel.method, cancel.uri.path()), (&Method::DELETE, "/jobs/7"));
            cancel.confirm_cancel();
        }
        daemon.quiet_for(seconds(100)).await;
        assert_cancels(&wait, u64::from(keys), u64::from(!keys));
    }
}

/// The resend is lost too, each time. It ends.
#[tokio::test(start_paused = true)]
async fn submission_that_is_not_found_counts_as_failed() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).assume_idempotency().on_drop(DropPolicy::Cancel, api.clone());
    let wait = layer.build().unwrap().layer(api);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    for _ in 0..6 {
        assert_cancels(&wait, 0, 0);
        daemon.next_post().await.reset();
    }
    daemon.quiet_for(seconds(600)).await;
    assert_cancels(&wait, 0, 1);
}

#[tokio::test(start_paused = true)]
async fn refused_resend_of_abandoned_submission_is_tried_again() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).assume_idempotency().on_drop(DropPolicy::Cancel, api.clone());
    let wait = layer.build().unwrap().layer(api);
    let waiting = spawn_wait(&wait, &request());
    let post = daemon.next_post().await;
    waiting.abort();
    let refused = daemon.next_post().await;
    let at = refused.at;
    refused.refuse(429, 30);
    // New jobs obey it too.
    daemon.settle().await;
    let error = spawn_wait(&wait, &request().with_deadline(seconds(10))).await.unwrap().unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit(), "{error:?}");
    let again = daemon.next_post().await;
    assert!((seconds(30)..=seconds(33)).contains(&(again.at - at)), "{:?}", again.at);
    assert_eq!(again.headers, post.headers);
    again.reset();
    let again = daemon.next_post().await;
    assert_eq!(again.headers, post.headers);
    again.accept_with_key("7");
    let cancel = daemon.next_cancel().await;
    assert_eq!(cancel.job(), "7");
    cancel.confirm_cancel();
    daemon.settle().await;
    assert_eq!(wait.stats().cancelled, 1);
}

/// Lost submissions that a full queue refuses must not keep cancels from emptying it.
#[tokio::test(start_paused = true)]
async fn refused_lost_submissions_do_not_delay_cancels() {
    let (wait, mut daemon) = cancelling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let running = spawn_wait(&wait, &request());
    daemon.next_post().await.accept_with_key("7");
    daemon.settle().await;
    let lost: Vec<_> = (0..20).map(|_| spawn_wait(&wait, &request())).collect();
    let mut posts = Vec::new();
    while posts.len() < 20 {
        posts.push(daemon.skip_to_post().await);
    }
    lost.iter().for_each(tokio::task::JoinHandle::abort);
    daemon.skip_to_post().await.refuse(429, 60);
    daemon.settle().await;
    let refused = daemon.elapsed();
    running.abort();
    let cancel = loop {
        let request = daemon.next().await;
        match request.method {
            Method::DELETE => break request,
            Method::POST => {
                // In flight with the first.
                assert_eq!(request.at, refused);
                request.refuse(429, 60);
            }
            _ => request.respond_state("running"),
        }
    };
    assert_eq!((cancel.at, cancel.job()), (refused, "7".to_owned()));
    cancel.confirm_cancel();
    let post = daemon.next_post().await;
    assert!(post.at >= refused + seconds(60), "{:?}", post.at);
}

#[tokio::test(start_paused = true)]
async fn lost_submission_is_not_looked_for_in_the_pause_of_submissions() {
    let (wait, mut daemon) = cancelling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let lost = spawn_wait(&wait, &request());
    let _held = daemon.next_post().await;
    let refused = spawn_wait(&wait, &request());
    daemon.next_post().await.refuse(429, 60);
    assert!(refused.await.unwrap().is_err());
    lost.abort();
    daemon.quiet_for(millis(59_900)).await;
    daemon.next_post().await.accept_with_key("7");
    assert_eq!(daemon.next_cancel().await.job(), "7");
}

/// A call at another service, which fails and would detach.
#[tokio::test(start_paused = true)]
async fn lost_submission_is_found_after_a_call_at_another_daemon() {
    let (wait, mut daemon) = cancelling_wait();
    learn_idempotency(&wait, &mut daemon).await;
    let (api, _other) = ScriptedDaemon::at("http://other.test");
    let other = WaitLayer::builder(api.clone()).daemon(api.daemon_id()).build().unwrap().layer(api);
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().is_err());
    assert!(spawn_wait(&other, &request).await.unwrap().unwrap_err().is_other_daemon());
    drop(request);
    daemon.next_post().await.accept_with_key("7");
    assert_eq!(daemon.next_cancel().await.job(), "7");
}

/// An event of another job names the job of a lost submission, at a daemon without idempotency keys.
#[tokio::test(start_paused = true)]
async fn job_of_an_unconfirmed_event_is_not_cancelled() {
    let (api, mut cancels) = ScriptedDaemon::new();
    let cancel = |layer: WaitLayerBuilder<MockApi>| layer.on_drop(DropPolicy::Cancel, api);
    let mut harness = WebhookHarness::new(Notifier::new(), true, cancel);
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    harness.event(&post.callback().unwrap(), "9", "running").await;
    post.reset();
    harness.daemon.settle().await;
    waiting.abort();
    cancels.quiet_for(seconds(10)).await;
    assert_cancels(&harness.wait, 0, 1);
}
