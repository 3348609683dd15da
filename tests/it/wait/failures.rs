//! Polls that fail.

use foreman_client::source::PollPolicyBuilder;
use foreman_client::wait::WaitLayerBuilder;
use foreman_client::{JobState, Notifier};

use crate::support::{Asked, Pushed, TestApi, attach, begin, exact, polling, request, seconds};

/// A poll every second.
fn each_second() -> PollPolicyBuilder {
    exact().growth(1.0).max_interval(seconds(1))
}

/// Ten seconds of failures are too many.
fn budget(layer: WaitLayerBuilder<TestApi>) -> WaitLayerBuilder<TestApi> {
    layer.poll_policy(each_second().build().unwrap()).failure_budget(seconds(10))
}

#[tokio::test(start_paused = true)]
async fn a_streak_of_failures_ends_the_wait_when_it_is_over_the_budget() {
    let (wait, mut daemon) = polling(budget);
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    daemon.get().await.tell("running");
    let failures: [fn(Asked); 4] = [
        Asked::reset,
        |asked| asked.answer(500, r#"{"error":"no disk"}"#),
        |asked| asked.answer(200, "nonsense"),
        |asked| asked.fail(std::io::ErrorKind::ConnectionRefused),
    ];
    for failure in failures.iter().cycle().take(11) {
        failure(daemon.get().await);
    }
    let error = waiting.await.unwrap().unwrap_err();
    // The streak began at 1 s.
    assert_eq!(daemon.clock(), seconds(11));
    assert!(error.to_string().starts_with("GET http://daemon.test/jobs/7: "), "{error}");
    assert!(error.may_be_running() && !error.is_safe_to_resubmit() && !error.is_maybe_submitted());
    assert_eq!((error.job_id().unwrap().as_str(), error.last_state()), ("7", Some(&JobState::Running)));
    assert_eq!((error.elapsed(), error.polls()), (Some(seconds(11)), Some(12)));
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));
}

#[tokio::test(start_paused = true)]
async fn a_success_begins_the_count_anew() {
    let (wait, mut daemon) = polling(budget);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    for nth in 0..95 {
        let asked = daemon.get().await;
        if nth % 10 == 9 { asked.tell("running") } else { asked.answer(502, "") }
    }
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!((wait.stats().poll_failures, wait.stats().polls), (86, 10));
}

#[tokio::test(start_paused = true)]
async fn an_event_begins_the_count_anew() {
    let mut it = Pushed::new(Notifier::new(), false, budget);
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    for nth in 0..8 {
        it.daemon.get().await.reset();
        if nth == 7 {
            it.daemon.settle().await;
            it.event(&url, "7", "running").await;
        }
    }
    // Asked at once, at 7 s; slowly from now on, and the budget is only looked at when a poll fails.
    it.daemon.get().await.reset();
    let next = it.daemon.get().await;
    assert_eq!(next.at, seconds(37));
    next.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_ends_the_wait_at_once() {
    for status in [400, 401, 403, 405, 422] {
        let (wait, mut daemon) = polling(budget);
        let waiting = begin(&wait, &request());
        daemon.post().await.accept("7");
        daemon.get().await.answer(status, "");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!((error.status().unwrap().as_u16(), daemon.clock()), (status, seconds(0)));
        assert!(error.may_be_running() && !error.is_safe_to_resubmit());
        assert_eq!(error.job_id().unwrap().as_str(), "7");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_will_be_so_the_next_time() {
    use tower::Layer;
    let (api, mut daemon) = crate::support::Daemon::new();
    let api = api.max_response_size(50).unwrap();
    let wait = foreman_client::WaitLayer::new(api.clone()).layer(api);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    daemon.get().await.answer(200, "x".repeat(51));
    assert!(waiting.await.unwrap().unwrap_err().is_bad_response());
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_asked_again() {
    for status in [302, 408, 409, 425, 429, 500, 502, 503, 504] {
        let (wait, mut daemon) = polling(budget);
        let waiting = begin(&wait, &request());
        daemon.post().await.accept("7");
        daemon.get().await.answer(status, "");
        daemon.get().await.tell("done");
        assert!(waiting.await.unwrap().is_ok(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn right_after_the_submission_the_daemon_may_not_know_the_job_yet() {
    let (wait, mut daemon) = polling(|layer| layer.poll_policy(each_second().build().unwrap()));
    let waiting = begin(&wait, &request());
    let post = daemon.post().await;
    // The grace counts from the answer.
    daemon.quiet_for(seconds(20)).await;
    post.accept("7");
    for _ in 0..5 {
        daemon.get().await.answer(404, "");
    }
    daemon.get().await.tell("running");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn after_the_grace_a_404_ends_the_wait() {
    let (wait, mut daemon) = polling(|layer| layer.poll_policy(each_second().build().unwrap()));
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    for _ in 0..6 {
        daemon.get().await.answer(404, "");
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(daemon.clock(), seconds(5));
    assert!(error.is_not_found() && !error.may_be_running());
    assert_eq!(error.job_id().unwrap().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_the_daemon_does_not_know_has_no_grace() {
    let (wait, mut daemon) = polling(budget);
    let waiting = attach(&wait, "7");
    daemon.get().await.answer(404, "");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_not_found() && daemon.clock() == seconds(0));
    assert_eq!((error.job_id().unwrap().as_str(), error.idempotency_key()), ("7", None));
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_poll_is_obeyed() {
    let (wait, mut daemon) = polling(budget);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    let busy = http::Response::builder().status(503).header("retry-after", "9").body("".into());
    daemon.get().await.respond(busy.unwrap());
    let asked = daemon.get().await;
    assert_eq!(asked.at, seconds(9));
    asked.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}
