//! Layers above and below a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{BoxError, Error, JobResult, Notifier, SubmitRequest, WaitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{
    MockApi, ScriptedDaemon, WebhookHarness, bounded_paused, exact_polls, millis, polling_wait, request, seconds,
};

/// Load shed, a limit of jobs, and timeouts for jobs and submissions.
fn stack(
    api: MockApi,
) -> impl Service<SubmitRequest, Response = JobResult, Error = BoxError, Future: Send> + Clone + Send + Sync {
    ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(2)
        .timeout(seconds(60))
        .layer(WaitLayer::builder(api.clone()).poll_policy(exact_polls().build().unwrap()).build().unwrap())
        .timeout(seconds(5))
        .service(api)
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(start_paused = true)]
async fn full_stack_is_send_and_completes() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let stack = stack(api);
    let (one, other) = (request(), request());
    let jobs =
        [&one, &other].map(|request| tokio::spawn(assert_send(bounded_paused(stack.clone().oneshot(request.clone())))));
    for job in ["7", "8"] {
        daemon.next_post().await.accept(job);
    }
    for _ in 0..2 {
        daemon.next_get().await.respond_state("running");
    }
    // The permits are held until the jobs end.
    let shed = Error::from_boxed(stack.clone().oneshot(request()).await.unwrap_err());
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit());
    for _ in 0..2 {
        daemon.next_get().await.respond_state("done");
    }
    for job in jobs {
        assert!(job.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_bound_submission_and_job() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let stack = stack(api);
    let first = request();
    let submission = first.submission();
    let waiting = tokio::spawn(bounded_paused(stack.clone().oneshot(first.clone())));
    let _post = daemon.next_post().await;
    let error = Error::from_boxed(waiting.await.unwrap().unwrap_err());
    assert_eq!(daemon.elapsed(), seconds(5));
    assert!(error.is_timeout() && error.is_maybe_submitted() && !error.is_deadline(), "{error:?}");
    assert_eq!(error.idempotency_key(), Some(&submission.idempotency_key()));

    let second = request();
    let submission = second.submission();
    let waiting = tokio::spawn(bounded_paused(stack.clone().oneshot(second)));
    daemon.next_post().await.accept("7");
    let respond = async {
        loop {
            daemon.next_get().await.respond_state("running");
        }
    };
    let error = tokio::select! {
        result = waiting => Error::from_boxed(result.unwrap().unwrap_err()),
        () = respond => unreachable!(),
    };
    assert!(error.is_timeout() && !error.is_deadline());
    // The error of an outer layer has no job id. The handle has it.
    assert_eq!(submission.job_id().unwrap().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn retry_above_timeout_attaches() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    for at in [0, 30, 60] {
        let bounded = tower::timeout::Timeout::new(wait.clone(), seconds(30));
        let waiting = tokio::spawn(bounded.oneshot(request.clone()));
        if at == 0 {
            daemon.next_post().await.accept("7");
        }
        let respond = async {
            loop {
                daemon.next_get().await.respond_state("running");
            }
        };
        tokio::select! {
            result = waiting => assert!(Error::from_boxed(result.unwrap().unwrap_err()).is_timeout()),
            () = respond => unreachable!(),
        }
        assert_eq!(daemon.elapsed(), seconds(at + 30));
    }
    assert_eq!((wait.stats().submitted, wait.stats().attached, wait.stats().dropped), (1, 2, 3));
}

/// A wait for another wait does not hold the permit that the other needs to send.
#[tokio::test(start_paused = true)]
async fn clones_share_one_permit() {
    let harness = WebhookHarness::new(Notifier::new(), true, |layer| layer);
    let (api, mut daemon) = ScriptedDaemon::new();
    let webhooks = WebhookEndpoint::new(harness.notifier.clone(), "http://here.test/events").unwrap();
    let layer =
        WaitLayer::builder(api.clone()).poll_policy(exact_polls().build().unwrap()).webhooks(webhooks).build().unwrap();
    let wait = layer.layer(ServiceBuilder::new().concurrency_limit(1).service(api));

    // The daemon supports idempotency keys.
    let waiting = tokio::spawn(bounded_paused(wait.clone().oneshot(request())));
    daemon.next_post().await.accept_with_key("1");
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());

    let request = request();
    let one = tokio::spawn(bounded_paused(wait.clone().oneshot(request.clone())));
    daemon.next_post().await.reset();
    daemon.quiet_for(millis(100)).await;
    let other = tokio::spawn(bounded_paused(wait.clone().oneshot(request.clone())));
    daemon.quiet_for(millis(100)).await;
    daemon.next_post().await.accept_with_key("7");
    daemon.next_get().await.respond_state("done");
    assert!(one.await.unwrap().is_ok() && other.await.unwrap().is_ok());
}

/// A wait in the window of a lost response does not hold a permit either.
#[tokio::test(start_paused = true)]
async fn idle_wait_releases_permit() {
    let harness = WebhookHarness::new(Notifier::new(), true, |layer| layer);
    let (api, mut daemon) = ScriptedDaemon::new();
    let webhooks = WebhookEndpoint::new(harness.notifier.clone(), "http://here.test/events").unwrap();
    let layer = WaitLayer::builder(api.clone()).webhooks(webhooks).build().unwrap();
    let wait = layer.layer(ServiceBuilder::new().concurrency_limit(1).service(api));
    let lost = request();
    let one = tokio::spawn(bounded_paused(wait.clone().oneshot(lost.clone())));
    daemon.next_post().await.reset();
    daemon.settle().await;
    let two = tokio::spawn(bounded_paused(wait.clone().oneshot(lost.clone())));
    daemon.settle().await;
    let other = tokio::spawn(bounded_paused(wait.clone().oneshot(request())));
    let post = daemon.next_post().await;
    assert_eq!(post.at, seconds(0));
    post.accept("8");
    daemon.next_get().await.respond_state("done");
    assert!(other.await.unwrap().is_ok());
    assert!(one.await.unwrap().is_err() && two.await.unwrap().is_err());
}

/// The identity of the layer and that of the `Api` inside may differ, by the token or by the name of the host.
#[tokio::test(start_paused = true)]
async fn layer_with_another_identity_than_its_api_submits() {
    for token in [None, Some("secret")] {
        let (http, mut daemon) = ScriptedDaemon::with_http();
        let base = if token.is_some() { "http://daemon.test" } else { "http://alias.test" };
        let base: foreman_client::api::BaseUrl = base.parse().unwrap();
        let mut api = foreman_client::Api::new("http://daemon.test".parse().unwrap(), http);
        if let Some(token) = token {
            api = api.token(token).unwrap();
        }
        let wait = WaitLayer::builder(api.clone()).daemon(base).build().unwrap().layer(api);
        let waiting = tokio::spawn(bounded_paused(wait.oneshot(request())));
        daemon.next_post().await.accept("7");
        daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// Inside one wait, what may have arrived at one daemon is not sent to another.
#[tokio::test(start_paused = true)]
async fn lost_submission_does_not_move_to_another_api_inside_the_wait() {
    let (one, mut first) = ScriptedDaemon::at("http://one.test");
    let (two, mut second) = ScriptedDaemon::at("http://two.test");
    for daemon in [None, Some(one.daemon_id()), Some(two.daemon_id())] {
        let mut layer = WaitLayer::builder(one.clone()).assume_idempotency();
        if let Some(daemon) = daemon {
            layer = layer.daemon(daemon);
        }
        let (first_call, apis) = (Arc::new(AtomicBool::new(true)), (one.clone(), two.clone()));
        let alternate = service_fn(move |request: SubmitRequest| {
            let api = if first_call.swap(false, Relaxed) { apis.0.clone() } else { apis.1.clone() };
            api.oneshot(request)
        });
        let retry = ServiceBuilder::new().retry(RetrySubmission::default()).service(alternate);
        let wait = layer.build().unwrap().layer(retry);
        let waiting = tokio::spawn(bounded_paused(wait.oneshot(request())));
        first.next_post().await.reset();
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
        second.quiet_for(seconds(10)).await;
    }
}

/// A job is accepted, its call times out, and the service fails before the policy calls again.
#[tokio::test(start_paused = true)]
async fn service_that_fails_between_two_calls_leaves_a_job() {
    let (wait, mut daemon) = polling_wait();
    let stack = ServiceBuilder::new().retry(Reattach::default()).timeout(seconds(1)).service(wait);
    let called = tokio::spawn(bounded_paused(stack.oneshot(request())));
    daemon.next_post().await.accept("7");
    let poll = daemon.next_get().await;
    daemon.fail_ready("the pool is closed");
    let error = Error::from_boxed(called.await.unwrap().unwrap_err());
    drop(poll);
    assert!(!error.is_safe_to_resubmit() && error.may_be_running(), "{error:?}");
}
