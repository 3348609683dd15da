//! Services of the caller that fail or panic in every way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use foreman_client::api::Accepted;
use foreman_client::retry::Reattach;
use foreman_client::{BoxError, Client, JobResult, SubmitRequest, WaitLayer};
use futures_util::FutureExt as _;
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _};

use crate::support::{
    MockApi, ScriptedDaemon, WebhookHarness, bounded_paused, polling_wait, request, seconds, spawn_wait,
};

/// Sends, and panics before it returns the future.
#[derive(Clone)]
struct PanicsAfterSending(MockApi);

impl Service<SubmitRequest> for PanicsAfterSending {
    type Response = Accepted;
    type Error = BoxError;
    type Future = std::future::Pending<Result<Accepted, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<SubmitRequest>::poll_ready(&mut self.0, cx).map_err(Into::into)
    }

    fn call(&mut self, request: SubmitRequest) -> Self::Future {
        let _sent = self.0.call(request);
        panic!("after sending");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_call_may_have_sent() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).daemon(api.daemon_id()).build().unwrap();
    let request = request();
    let panicking = layer.layer(PanicsAfterSending(api.clone()));
    let panicked = AssertUnwindSafe(panicking.oneshot(request.clone())).catch_unwind().await;
    assert!(panicked.is_err());
    let _post = daemon.next_post().await;
    // A clone does not send it again.
    let error = bounded_paused(layer.layer(api).oneshot(request)).await.unwrap_err();
    assert!(error.is_maybe_submitted() && error.may_be_running(), "{error:?}");
    daemon.quiet_for(seconds(100)).await;
}

#[tokio::test(start_paused = true)]
async fn service_that_is_never_ready_has_sent_nothing() {
    let (mut wait, mut daemon) = polling_wait();
    daemon.fail_ready("out of order");
    let error = wait.ready().await.unwrap_err();
    assert!(error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
}

/// `303 See Other` refers to the outcome of a request that was processed.
#[tokio::test(start_paused = true)]
async fn redirect_to_an_outcome_may_have_been_submitted() {
    for (status, unsent) in [(301, true), (302, true), (303, false), (307, true), (308, true)] {
        let (wait, mut daemon) = polling_wait();
        let waiting = spawn_wait(&wait, &request());
        daemon.next_post().await.respond(status, "");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!((error.is_safe_to_resubmit(), error.may_be_running()), (unsent, !unsent), "{status}");
    }
}

/// Two seconds: failed after 55 s. Each re-attach opened the window of 10 s anew.
#[tokio::test(start_paused = true)]
async fn lost_response_is_recovered_by_timeouts_shorter_than_its_window() {
    for timeout in [1, 2, 5, 15] {
        let mut harness = WebhookHarness::signed();
        crate::support::learn_idempotency(&harness.wait, &mut harness.daemon).await;
        let stack =
            ServiceBuilder::new().retry(Reattach::default()).timeout(seconds(timeout)).service(harness.wait.clone());
        let waiting = tokio::spawn(bounded_paused(stack.oneshot(request())));
        let start = harness.daemon.elapsed();
        harness.daemon.next_post().await.reset();
        let again = harness.daemon.skip_to_post().await;
        assert!(again.at - start <= seconds(17), "{timeout}: {:?}", again.at - start);
        again.accept_with_key("7");
        harness.daemon.next_get().await.respond_state("done");
        assert!(waiting.await.unwrap().is_ok(), "{timeout}");
    }
}

#[tokio::test(start_paused = true)]
async fn renewed_job_is_reported_with_both_submissions() {
    let (wait, mut daemon) = polling_wait();
    let (renewals, first) = (Arc::new(AtomicUsize::new(0)), request());
    let key = first.submission().idempotency_key();
    let policy = Reattach::builder()
        .renew_failed(1, |_: &JobResult| true)
        .on_renew({
            let renewals = Arc::clone(&renewals);
            move |failed, renewed| {
                assert_eq!((failed.idempotency_key(), failed.job_id().unwrap().as_str()), (key.clone(), "7"));
                assert_ne!(renewed.idempotency_key(), key);
                renewals.fetch_add(1, Relaxed);
            }
        })
        .build()
        .unwrap();
    let stack = ServiceBuilder::new().retry(policy).service(wait);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(first)));
    for (job, state) in [("7", "failed"), ("8", "done")] {
        daemon.next_post().await.accept(job);
        daemon.next_get().await.respond_state(state);
    }
    assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "8");
    assert_eq!(renewals.load(Relaxed), 1);
    assert!(Reattach::builder().on_renew(|_, _| ()).build().unwrap_err().is_invalid());
}

/// The deadline of a job that runs again is that of its caller.
#[tokio::test(start_paused = true)]
async fn renewal_does_not_start_the_deadline_anew() {
    let (wait, mut daemon) = polling_wait();
    let policy = Reattach::builder().renew_failed(5, |_: &JobResult| true).build().unwrap();
    let stack = ServiceBuilder::new().retry(policy).service(wait);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request().with_deadline(seconds(5)))));
    daemon.next_post().await.accept("7");
    while daemon.elapsed() < seconds(2) {
        daemon.next_get().await.respond_state("running");
    }
    daemon.next_get().await.respond_state("failed");
    daemon.next_post().await.accept("8");
    while daemon.elapsed() < seconds(5) {
        daemon.next_get().await.respond_state("running");
    }
    assert!(waiting.await.unwrap().unwrap_err().is_deadline());
    assert!(daemon.elapsed() <= seconds(6), "{:?}", daemon.elapsed());
}

/// Polling would be for the whole life of the client.
#[tokio::test]
async fn client_of_a_daemon_that_is_not_found_is_not_built() {
    let error = crate::support::bounded(Client::builder("http://foreman.invalid:1").build()).await.unwrap_err();
    assert!(error.is_connect() && error.is_retryable(), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    // Neither needs the address of the daemon.
    for builder in [
        Client::builder("http://foreman.invalid:1").polling(),
        Client::builder("http://foreman.invalid:1").listen(([127, 0, 0, 1], 0).into()),
    ] {
        assert!(crate::support::bounded(builder.build()).await.is_ok());
    }
}
