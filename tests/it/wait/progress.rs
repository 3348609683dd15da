//! The stream of states and result, and the layer that puts the job on errors.

use foreman_client::retry::RetrySubmission;
use foreman_client::wait::{JobErrorsLayer, Progress, Update};
use foreman_client::{BoxError, Error, JobResult, SubmitRequest, WaitLayer};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tower::{Layer as _, Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{MockWait, ScriptedDaemon, bounded_paused, job_id, polling_wait, request, seconds};

fn progress(
    wait: MockWait,
    request: &SubmitRequest,
) -> std::pin::Pin<Box<Progress<impl Future<Output = Result<JobResult, Error>> + Send + 'static>>> {
    Box::pin(Progress::new(&request.submission(), wait.oneshot(request.clone())))
}

fn text(update: &Update) -> String {
    match update {
        Update::State(change) => change.state.to_string(),
        Update::Finished(result) => format!("result of {}", result.job_id()),
    }
}

#[tokio::test(start_paused = true)]
async fn progress_yields_states_then_result() {
    let (wait, mut daemon) = polling_wait();
    let updates = tokio::spawn(bounded_paused(progress(wait, &request()).collect::<Vec<_>>()));
    daemon.next_post().await.accept("7");
    for state in ["queued", "running", "running", "done"] {
        daemon.next_get().await.respond_state(state);
    }
    let updates: Vec<_> = updates.await.unwrap().iter().map(|update| text(update.as_ref().unwrap())).collect();
    assert_eq!(updates, ["queued", "running", "done", "result of 7"]);
}

#[tokio::test(start_paused = true)]
async fn progress_ends_with_error_that_has_the_job() {
    let (wait, mut daemon) = polling_wait();
    let updates = tokio::spawn(bounded_paused(progress(wait, &request()).collect::<Vec<_>>()));
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("queued");
    daemon.next_get().await.respond(401, "");
    let updates = updates.await.unwrap();
    assert_eq!((updates.len(), text(updates[0].as_ref().unwrap())), (2, "queued".to_owned()));
    let error = updates[1].as_ref().unwrap_err();
    assert!(error.is_auth() && error.job_id() == Some(&job_id("7")));
}

#[tokio::test(start_paused = true)]
async fn accepted_drives_the_call_and_loses_no_state() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let mut progress = progress(wait, &request);
    assert!(progress.as_mut().accepted().now_or_never().is_none(), "submits");
    let (accepted, ()) = tokio::join!(progress.as_mut().accepted(), async {
        daemon.next_post().await.accept("7");
    });
    assert_eq!(accepted.unwrap(), job_id("7"));
    let respond = async {
        daemon.next_get().await.respond_state("running");
        daemon.next_get().await.respond_state("done");
    };
    let (updates, ()) = tokio::join!(bounded_paused(progress.try_collect::<Vec<_>>()), respond);
    assert_eq!(updates.unwrap().iter().map(text).collect::<Vec<_>>(), ["running", "done", "result of 7"]);
}

#[tokio::test(start_paused = true)]
async fn accepted_returns_the_refusal_and_ends_the_stream() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let mut progress = progress(wait, &request);
    let (accepted, ()) = tokio::join!(progress.as_mut().accepted(), async {
        daemon.next_post().await.respond(422, r#"{"error":"no such model"}"#);
    });
    assert!(accepted.unwrap_err().is_rejected());
    assert!(bounded_paused(progress.next()).await.is_none());
}

/// A 504 that said that nothing runs made its caller run the job twice.
#[tokio::test(start_paused = true)]
async fn errors_of_layers_get_the_job() {
    let (wait, mut daemon) = polling_wait();
    let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).timeout(seconds(5)).service(wait.clone());
    let request = request();
    let waiting = tokio::spawn(bounded_paused(stack.clone().oneshot(request.clone())));
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.may_be_running() && !error.is_safe_to_resubmit());
    assert_eq!((error.job_id(), error.last_state().unwrap().as_str()), (Some(&job_id("7")), "running"));
    assert_eq!(
        (error.daemon(), error.idempotency_key()),
        (Some("http://daemon.test"), Some(&request.submission().idempotency_key()))
    );
    assert_eq!(error.to_string(), "timed out (job 7, last state running)");

    // Before the response: it may be running, and the key says which.
    let request = crate::support::request();
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request.clone())));
    let _post = daemon.skip_to_post().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.is_maybe_submitted() && error.may_be_running());

    let attach = ServiceBuilder::new().layer(JobErrorsLayer::new()).timeout(seconds(1)).service(wait.attach());
    let error = bounded_paused(attach.oneshot(job_id("9"))).await.unwrap_err();
    assert_eq!((error.job_id(), error.may_be_running()), (Some(&job_id("9")), true));
}

/// A refusal after which a policy pauses, when the timeout passes: nothing is being sent.
#[tokio::test(start_paused = true)]
async fn timeout_in_the_pause_after_a_refusal_is_safe_to_resubmit() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let waits = WaitLayer::builder(api.clone()).build().unwrap();
    let stack = ServiceBuilder::new()
        .layer(JobErrorsLayer::new())
        .timeout(seconds(5))
        .layer(waits)
        .retry(RetrySubmission::default())
        .service(api);
    let waiting = tokio::spawn(bounded_paused(stack.oneshot(request())));
    let response = http::Response::builder().status(429).header("retry-after", 30).body("".into()).unwrap();
    daemon.next_post().await.respond_with(response);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_timeout() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
}

/// A service without a wait may have sent the request, whatever the submission knows.
#[tokio::test(start_paused = true)]
async fn error_of_a_service_without_a_wait_may_be_running() {
    let sends = service_fn(|_: SubmitRequest| std::future::ready(Err::<JobResult, BoxError>("it broke off".into())));
    let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).service(sends);
    let error = stack.oneshot(request()).await.unwrap_err();
    assert!(error.is_maybe_submitted() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
}

/// What is shed or queued above the wait was surely not sent.
#[tokio::test(start_paused = true)]
async fn errors_of_layers_before_sending_are_safe_to_resubmit() {
    let (wait, mut daemon) = polling_wait();
    let limited =
        ServiceBuilder::new().layer(JobErrorsLayer::new()).timeout(seconds(5)).concurrency_limit(1).service(wait);
    let mut limited = limited;
    let first = limited.ready().await.unwrap().call(request());
    let first = tokio::spawn(bounded_paused(first));
    let _post = daemon.next_post().await;
    let shed = ServiceBuilder::new().layer(JobErrorsLayer::new()).load_shed().service(limited);
    let error = bounded_paused(shed.oneshot(request())).await.unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn accepted_returns_its_error_again() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let mut progress = progress(wait, &request);
    let (accepted, ()) = tokio::join!(progress.as_mut().accepted(), async {
        daemon.next_post().await.respond(422, "");
    });
    assert!(accepted.unwrap_err().is_rejected());
    assert!(bounded_paused(progress.as_mut().accepted()).await.unwrap_err().is_rejected());
}

/// A task that a layer has spawned may submit after its caller has given up.
#[tokio::test(start_paused = true)]
async fn spawned_call_is_not_surely_unsent() {
    let (wait, mut daemon) = polling_wait();
    let refused = tokio::spawn(wait.clone().oneshot(request()));
    let response = http::Response::builder().status(429).header("retry-after", 30).body("".into());
    daemon.next_post().await.respond_with(response.unwrap());
    assert!(refused.await.unwrap().is_err());
    let spawned = service_fn(move |request: SubmitRequest| {
        let task = tokio::spawn(wait.clone().oneshot(request));
        async move { task.await.unwrap() }
    });
    let stack = ServiceBuilder::new().layer(JobErrorsLayer::new()).timeout(seconds(5)).service(spawned);
    let error = stack.oneshot(request()).await.unwrap_err();
    assert!(error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
    daemon.next_post().await.accept("7");
}

/// A layer below has started a second wait in a task of its own, which submits after the first was refused.
#[tokio::test(start_paused = true)]
async fn refusal_is_not_surely_unsent_while_a_sibling_waits() {
    let (wait, mut daemon) = polling_wait();
    let doubled = service_fn(move |request: SubmitRequest| {
        drop(tokio::spawn(wait.clone().oneshot(request.clone())));
        wait.clone().oneshot(request)
    });
    let jobs = ServiceBuilder::new().layer(JobErrorsLayer::new()).service(doubled);
    let called = tokio::spawn(jobs.oneshot(request()));
    let post = daemon.next_post().await;
    daemon.settle().await;
    post.respond(429, "");
    let error = called.await.unwrap().unwrap_err();
    assert!(error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
    daemon.next_post().await.accept("7");
}

/// An earlier wait on the request is gone when the call starts, which has to wait for its service.
#[tokio::test(start_paused = true)]
async fn progress_outlives_earlier_waits() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let dropped = tokio::spawn(wait.clone().oneshot(request.clone()));
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("queued");
    daemon.settle().await;
    dropped.abort();
    assert!(dropped.await.is_err());
    daemon.allow(0);
    let updates = tokio::spawn(bounded_paused(progress(wait, &request).collect::<Vec<_>>()));
    daemon.quiet_for(seconds(5)).await;
    daemon.allow(100);
    for state in ["running", "done"] {
        daemon.next_get().await.respond_state(state);
    }
    let updates: Vec<_> = updates.await.unwrap().iter().map(|update| text(update.as_ref().unwrap())).collect();
    assert_eq!(updates, ["queued", "running", "done", "result of 7"]);
}

/// The bare service has sent it, and the service below the wait fails before any wait has started.
#[tokio::test(start_paused = true)]
async fn failed_readiness_is_not_surely_unsent_after_a_bare_send() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let wait = WaitLayer::builder(api.clone()).daemon(api.daemon_id()).build().unwrap().layer(api.clone());
    let request = request();
    let bare = tokio::spawn(api.oneshot(request.clone()));
    daemon.next_post().await.reset();
    assert!(bare.await.unwrap().is_err());
    daemon.fail_ready("the pool is closed");
    let error = progress(wait, &request).next().await.unwrap().unwrap_err();
    assert!(error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
}
