//! Layers on either side of a wait.

use foreman_client::{BoxError, Error, JobResult, Notifier, SubmitRequest, WaitLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{Daemon, Pushed, TestApi, exact, polling, request, seconds};

/// Everything at once: load is shed, jobs and requests are limited, both are bounded in time.
fn stack(
    api: TestApi,
) -> impl Service<SubmitRequest, Response = JobResult, Error = BoxError, Future: Send> + Clone + Send + Sync {
    ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(2)
        .timeout(seconds(60))
        .layer(WaitLayer::builder(api.clone()).poll_policy(exact().build().unwrap()).build().unwrap())
        .timeout(seconds(5))
        .service(api)
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(start_paused = true)]
async fn a_whole_stack_compiles_is_send_and_works() {
    let (api, mut daemon) = Daemon::new();
    let stack = stack(api);
    let (one, other) = (request(), request());
    let jobs = [&one, &other].map(|request| tokio::spawn(assert_send(stack.clone().oneshot(request.clone()))));
    for job in ["7", "8"] {
        daemon.post().await.accept(job);
    }
    for _ in 0..2 {
        daemon.get().await.tell("running");
    }
    // The permits live as long as the jobs.
    let shed = Error::from_boxed(stack.clone().oneshot(request()).await.unwrap_err());
    assert!(shed.is_overloaded() && shed.is_safe_to_resubmit());
    for _ in 0..2 {
        daemon.get().await.tell("done");
    }
    for job in jobs {
        assert!(job.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_out_inside_bounds_the_submission_and_one_outside_the_job() {
    let (api, mut daemon) = Daemon::new();
    let stack = stack(api);
    let first = request();
    let submission = first.submission();
    let waiting = tokio::spawn(stack.clone().oneshot(first.clone()));
    let _post = daemon.post().await;
    let error = Error::from_boxed(waiting.await.unwrap().unwrap_err());
    assert_eq!(daemon.clock(), seconds(5));
    assert!(error.is_timeout() && error.is_maybe_submitted() && !error.is_deadline(), "{error:?}");
    assert_eq!(error.idempotency_key(), Some(submission.idempotency_key()));

    let second = request();
    let submission = second.submission();
    let waiting = tokio::spawn(stack.clone().oneshot(second));
    daemon.post().await.accept("7");
    let answers = async {
        loop {
            daemon.get().await.tell("running");
        }
    };
    let error = tokio::select! {
        ended = waiting => Error::from_boxed(ended.unwrap().unwrap_err()),
        () = answers => panic!("it never ends"),
    };
    assert!(error.is_timeout() && !error.is_deadline());
    // The error of a layer outside knows nothing of the job; the handle does.
    assert_eq!(submission.job_id().unwrap().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn a_retry_above_a_time_out_attaches_to_the_same_job() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    for at in [0, 30, 60] {
        let bounded = tower::timeout::Timeout::new(wait.clone(), seconds(30));
        let waiting = tokio::spawn(bounded.oneshot(request.clone()));
        if at == 0 {
            daemon.post().await.accept("7");
        }
        let polled = async {
            loop {
                daemon.get().await.tell("running");
            }
        };
        tokio::select! {
            ended = waiting => assert!(Error::from_boxed(ended.unwrap().unwrap_err()).is_timeout()),
            () = polled => panic!("it never ends"),
        }
        assert_eq!(daemon.clock(), seconds(at + 30));
    }
    assert_eq!((wait.stats().submitted, wait.stats().attached, wait.stats().dropped), (1, 2, 3));
}

/// A wait that stands behind another does not keep the place that the other needs to send.
#[tokio::test(start_paused = true)]
async fn waits_on_one_submission_share_a_single_place_without_blocking_each_other() {
    let it = Pushed::new(Notifier::new(), true, |layer| layer);
    let (api, mut daemon) = Daemon::new();
    let push = foreman_client::wait::WebhookEndpoint::new(it.notifier.clone(), "http://here.test/events").unwrap();
    let layer = WaitLayer::builder(api.clone()).poll_policy(exact().build().unwrap()).webhooks(push).build().unwrap();
    let wait = layer.layer(ServiceBuilder::new().concurrency_limit(1).service(api));

    // It keeps keys.
    let waiting = tokio::spawn(wait.clone().oneshot(request()));
    daemon.post().await.accept_with_key("1");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());

    let request = request();
    let one = tokio::spawn(wait.clone().oneshot(request.clone()));
    daemon.post().await.reset();
    daemon.quiet_for(seconds(1)).await;
    let other = tokio::spawn(wait.clone().oneshot(request.clone()));
    daemon.quiet_for(seconds(1)).await;
    daemon.post().await.accept_with_key("7");
    daemon.get().await.tell("done");
    assert!(one.await.unwrap().is_ok() && other.await.unwrap().is_ok());
}

/// So does one that waits for an event after a lost answer.
#[tokio::test(start_paused = true)]
async fn a_wait_that_sends_nothing_leaves_its_place_to_other_submissions() {
    let it = Pushed::new(Notifier::new(), true, |layer| layer);
    let (api, mut daemon) = Daemon::new();
    let push = foreman_client::wait::WebhookEndpoint::new(it.notifier.clone(), "http://here.test/events").unwrap();
    let layer = WaitLayer::builder(api.clone()).webhooks(push).build().unwrap();
    let wait = layer.layer(ServiceBuilder::new().concurrency_limit(1).service(api));
    let lost = request();
    let one = tokio::spawn(wait.clone().oneshot(lost.clone()));
    daemon.post().await.reset();
    daemon.settle().await;
    let two = tokio::spawn(wait.clone().oneshot(lost.clone()));
    daemon.settle().await;
    let other = tokio::spawn(wait.clone().oneshot(request()));
    let post = daemon.post().await;
    assert_eq!(post.at, seconds(0));
    post.accept("8");
    daemon.get().await.tell("done");
    assert!(other.await.unwrap().is_ok());
    assert!(one.await.unwrap().is_err() && two.await.unwrap().is_err());
}
