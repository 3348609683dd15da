//! Waits without webhooks.

use foreman_client::{JobState, SubmitRequest};
use tower::ServiceExt;

use crate::support::{call_wait, polling_wait, request, seconds, spawn_attach, spawn_wait};

#[tokio::test(start_paused = true)]
async fn terminal_poll_completes_wait() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    let post = daemon.next_post().await;
    assert_eq!(post.callback(), None);
    post.accept("7");
    for (at, state) in [(0, "queued"), (1, "running"), (2, "running"), (4, "done")] {
        let poll = daemon.next_get().await;
        assert_eq!((poll.at, poll.uri.path()), (seconds(at), "/jobs/7"));
        poll.respond_state(state);
    }
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.job_id().as_str(), result.state()), ("7", &JobState::Done));
    assert_eq!(result.content().unwrap(), "from a poll");
    daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn failed_job_is_a_result() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond(200, r#"{"job_id":"7","state":"failed","error":"out of memory"}"#);
    let result = waiting.await.unwrap().unwrap();
    assert_eq!((result.state(), result.error()), (&JobState::Failed, Some("out of memory")));
    assert!(result.into_success().unwrap_err().is_job_failed());
}

#[tokio::test(start_paused = true)]
async fn unknown_state_is_not_terminal() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let waiting = spawn_wait(&wait, &request);
    daemon.next_post().await.accept("7");
    for state in ["paused", "DONE", "finished", "cancelled", ""] {
        daemon.next_get().await.respond_state(state);
        daemon.settle().await;
        assert_eq!(request.submission().last_state(), Some(JobState::from(state)));
    }
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn running_job_is_awaited_by_id() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_attach(&wait, "a b");
    let poll = daemon.next_get().await;
    assert_eq!((poll.uri.path(), poll.at), ("/jobs/a%20b", seconds(0)));
    poll.respond(200, r#"{"job_id":"a b","state":"running"}"#);
    daemon.next_get().await.respond(200, r#"{"job_id":"a b","state":"done"}"#);
    assert_eq!(waiting.await.unwrap().unwrap().job_id().as_str(), "a b");
}

#[tokio::test(start_paused = true)]
async fn wait_without_deadline_lasts_a_month() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    while daemon.elapsed() < seconds(30 * 24 * 3_600) {
        daemon.next_get().await.respond_state("running");
        tokio::time::advance(seconds(3_600)).await;
    }
    daemon.next_get().await.respond_state("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_inner_service() {
    let (wait, mut daemon) = polling_wait();
    daemon.allow(0);
    let mut ready = tokio_test::task::spawn(ServiceExt::<SubmitRequest>::ready_oneshot(wait.clone()));
    assert!(ready.poll().is_pending());
    daemon.allow(1);
    assert!(ready.is_woken());
    assert!(ready.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn unpolled_wait_sends_nothing() {
    let (wait, mut daemon) = polling_wait();
    let waiting = call_wait(&wait, request()).await;
    daemon.quiet_for(seconds(10)).await;
    let waiting = tokio::spawn(waiting);
    assert_eq!(daemon.next_post().await.at, seconds(10));
    drop(waiting);
}
