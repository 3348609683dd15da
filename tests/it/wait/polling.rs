//! Waits that nobody sends events to.

use foreman_client::{JobState, SubmitRequest};
use tower::ServiceExt;

use crate::support::{attach, begin, called, polling, request, seconds};

#[tokio::test(start_paused = true)]
async fn a_poll_that_tells_the_end_completes_the_wait() {
    let (wait, mut daemon) = polling(|layer| layer);
    let waiting = begin(&wait, &request());
    let post = daemon.post().await;
    assert_eq!(post.callback(), None);
    post.accept("7");
    for (at, state) in [(0, "queued"), (1, "running"), (3, "running"), (7, "done")] {
        let asked = daemon.get().await;
        assert_eq!((asked.at, asked.uri.path()), (seconds(at), "/jobs/7"));
        asked.tell(state);
    }
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.job_id.as_str(), &result.state), ("7", &JobState::Done));
    assert_eq!(result.content().unwrap(), "told by a poll");
    daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_failed_is_a_result() {
    let (wait, mut daemon) = polling(|layer| layer);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    daemon.get().await.answer(200, r#"{"job_id":"7","state":"failed","error":"out of memory"}"#);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((&result.state, result.error.as_deref()), (&JobState::Failed, Some("out of memory")));
    assert!(result.into_success().unwrap_err().is_job_failed());
}

#[tokio::test(start_paused = true)]
async fn a_state_that_nobody_knows_is_not_the_end() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    for state in ["paused", "DONE", "finished", "cancelled", ""] {
        daemon.get().await.tell(state);
        daemon.settle().await;
        assert_eq!(request.submission().last_state(), Some(JobState::from(state)));
    }
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_id_is_enough_to_wait_for_a_job_that_runs() {
    let (wait, mut daemon) = polling(|layer| layer);
    let waiting = attach(&wait, "a b");
    let asked = daemon.get().await;
    assert_eq!((asked.uri.path(), asked.at), ("/jobs/a%20b", seconds(0)));
    asked.answer(200, r#"{"job_id":"a b","state":"running"}"#);
    daemon.get().await.answer(200, r#"{"job_id":"a b","state":"done"}"#);
    assert_eq!(waiting.await.unwrap().unwrap().job_id.as_str(), "a b");
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_a_deadline_lasts_as_long_as_the_job() {
    let (wait, mut daemon) = polling(|layer| layer);
    let waiting = begin(&wait, &request());
    daemon.post().await.accept("7");
    while daemon.clock() < seconds(30 * 24 * 3_600) {
        daemon.get().await.tell("running");
        tokio::time::advance(seconds(3_600)).await;
    }
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_the_service_that_submits_is() {
    let (wait, mut daemon) = polling(|layer| layer);
    daemon.allow(0);
    let mut ready = tokio_test::task::spawn(ServiceExt::<SubmitRequest>::ready_oneshot(wait.clone()));
    assert!(ready.poll().is_pending());
    daemon.allow(1);
    assert!(ready.is_woken());
    assert!(ready.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_wait_is_polled() {
    let (wait, mut daemon) = polling(|layer| layer);
    let waiting = called(&wait, request()).await;
    daemon.quiet_for(seconds(10)).await;
    let waiting = tokio::spawn(waiting);
    assert_eq!(daemon.post().await.at, seconds(10));
    drop(waiting);
}
