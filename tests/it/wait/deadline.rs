//! Waits that are bounded.

use std::time::Duration;

use foreman_client::wait::WaitLayerBuilder;
use foreman_client::{JobState, Notifier, WaitLayer};

use crate::support::{Daemon, Pushed, TestApi, begin, exact, polling, request, seconds};

fn ten(layer: WaitLayerBuilder<TestApi>) -> WaitLayerBuilder<TestApi> {
    layer.deadline(seconds(10))
}

/// Answers the polls before the deadline.
async fn running_until_ten(daemon: &mut Daemon) {
    for at in [0, 1, 3, 7] {
        let asked = daemon.get().await;
        assert_eq!(asked.at, seconds(at));
        asked.tell("running");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_look_finds_a_job_that_is_done() {
    let (wait, mut daemon) = polling(ten);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    running_until_ten(&mut daemon).await;
    let last = daemon.get().await;
    assert_eq!(last.at, seconds(10));
    last.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_error_says_how_long_how_often_which_job_and_that_it_may_run() {
    let (wait, mut daemon) = polling(ten);
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    running_until_ten(&mut daemon).await;
    daemon.get().await.tell("running");
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_timeout() && error.may_be_running() && !error.is_safe_to_resubmit());
    assert_eq!((error.elapsed(), error.polls()), (Some(seconds(10)), Some(5)));
    assert_eq!((error.job_id().unwrap().as_str(), error.last_state()), ("7", Some(&JobState::Running)));
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));
    assert_eq!(
        error.to_string(),
        "job not finished within the deadline of 10s (job 7, last state running, 5 polls in 10s)"
    );
    daemon.quiet_for(seconds(1_000)).await;

    // The job goes on, and so may another wait for it.
    let waiting = begin(&wait, &request);
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_last_look_is_bounded_itself() {
    let (wait, mut daemon) = polling(ten);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    running_until_ten(&mut daemon).await;
    let _last = daemon.get().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline());
    assert_eq!((daemon.clock(), error.elapsed()), (seconds(15), Some(seconds(15))));
}

#[tokio::test(start_paused = true)]
async fn a_last_look_that_fails_is_the_errors_cause() {
    let (wait, mut daemon) = polling(ten);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    running_until_ten(&mut daemon).await;
    daemon.get().await.answer(500, r#"{"error":"no disk"}"#);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && daemon.clock() == seconds(10));
    assert!(std::error::Error::source(&error).unwrap().to_string().ends_with("daemon returned 500: no disk"));
}

#[tokio::test(start_paused = true)]
async fn an_event_during_the_last_look_beats_the_deadline() {
    let mut it = Pushed::new(Notifier::new(), true, ten);
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    running_until_ten(&mut it.daemon).await;
    let _last = it.daemon.get().await;
    it.daemon.quiet_for(seconds(4)).await;
    it.event(&url, "7", "done").await;
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by an event");
}

/// The one that is held knows nothing new for as long as it is held.
#[tokio::test(start_paused = true)]
async fn the_last_look_is_asked_for_now_and_not_held() {
    let long =
        |layer: WaitLayerBuilder<TestApi>| ten(layer).poll_policy(exact().long_poll(seconds(20)).build().unwrap());
    let (wait, mut daemon) = polling(long);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    daemon.get().await.tell("running");
    let held = daemon.get().await;
    assert_eq!((held.at, held.header("prefer")), (seconds(0), Some("wait=20")));
    let last = daemon.get().await;
    assert_eq!((last.at, last.header("prefer")), (seconds(10), None));
    last.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_during_the_submission_leaves_it_to_a_clone_to_find_the_job() {
    let (wait, mut daemon) = polling(ten);
    let request = request();
    let waiting = begin(&wait, &request);
    let _post = daemon.post().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(daemon.clock(), seconds(10));
    assert!(error.is_deadline() && error.is_maybe_submitted() && error.may_be_running());
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));

    // By a service without a deadline: nobody sends it any more, and so nobody is to be waited for.
    let (patient, mut daemon) = polling(|layer| layer);
    let error = begin(&patient, &request).await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_during_the_submission_does_not_lose_the_events() {
    let mut it = Pushed::new(Notifier::new(), true, ten);
    let request = request();
    let waiting = begin(&it.wait, &request);
    let url = it.daemon.post().await.callback().unwrap();
    // The mock's answer is dropped with `post`, so that this is the window after a lost answer.
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    let waiting = begin(&it.wait, &request);
    it.daemon.quiet_for(seconds(5)).await;
    it.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_anything_was_sent_says_so_and_leaves_it_to_a_clone_to_send() {
    let (wait, mut daemon) = polling(ten);
    let request = request();
    // The first takes the only place, and its connection breaks before the second is sent.
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    let post = daemon.post().await;
    daemon.allow(0);
    daemon.quiet_for(seconds(5)).await;
    post.answer(429, "");
    assert!(one.await.unwrap().unwrap_err().is_safe_to_resubmit());
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && daemon.clock() == seconds(10));
    assert!(!error.may_be_running() && !error.is_maybe_submitted(), "{error:?}");

    daemon.allow(100);
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_while_another_wait_sends_ends_only_this_one() {
    let (patient, mut daemon) = polling(|layer| layer);
    let (hasty, _nobody) = polling(ten);
    let request = request();
    let one = begin(&patient, &request);
    let post = daemon.post().await;
    let other = begin(&hasty, &request);
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_maybe_submitted());
    post.accept("7");
    daemon.get().await.tell("done");
    assert!(one.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_after_a_lost_answer_comes_before_the_end_of_the_window() {
    let mut it = Pushed::new(Notifier::new(), true, |layer| layer.deadline(seconds(4)));
    let waiting = begin(&it.wait, &request());
    it.daemon.post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.is_maybe_submitted() && it.daemon.clock() == seconds(4));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("connection to the daemon lost"));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_call() {
    let (wait, mut daemon) = polling(ten);
    let waiting = crate::support::called(&wait, request()).await;
    daemon.quiet_for(seconds(6)).await;
    let waiting = tokio::spawn(waiting);
    let _post = daemon.post().await;
    assert!(waiting.await.unwrap().unwrap_err().is_deadline());
    assert_eq!(daemon.clock(), seconds(10));
}

#[test]
fn a_deadline_of_nothing_is_refused_by_name_and_an_endless_one_is_not() {
    let (api, _daemon) = Daemon::new();
    let error = WaitLayer::builder(api.clone()).deadline(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.to_string(), "invalid deadline: must not be zero");
    assert!(WaitLayer::builder(api).deadline(Duration::MAX).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_no_clock_can_hold_never_comes() {
    let (wait, mut daemon) = polling(|layer| layer.deadline(Duration::MAX).failure_budget(Duration::MAX));
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    daemon.get().await.tell("running");
    daemon.get().await.answer(500, "");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}
