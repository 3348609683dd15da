//! A shutdown takes no new work, waits for the rest for a while, and returns the jobs that go on.

use foreman_client::{DropPolicy, SubmitRequest};
use http::Method;
use tokio_test::task;
use tower::{Service as _, ServiceExt as _};

use crate::support::{
    WebhookHarness, bounded_paused, call_wait, cancelling_wait, job_id, millis, polling_wait, polling_wait_with,
    request, seconds, spawn_attach, spawn_wait,
};

fn detached_request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").on_drop(DropPolicy::Detach).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_waits_and_refuses_new_ones() {
    let mut harness = WebhookHarness::signed();
    let waiting = spawn_wait(&harness.wait, &request());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    harness.daemon.next_get().await.respond_state("running");
    let mut shutdown = task::spawn(harness.wait.shutdown(seconds(60)));
    assert!(shutdown.poll().is_pending() && harness.wait.is_shutting_down());

    let error = spawn_wait(&harness.wait, &request()).await.unwrap().unwrap_err();
    assert!(error.is_shutting_down() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    let error = spawn_attach(&harness.wait, "8").await.unwrap().unwrap_err();
    assert!(error.is_shutting_down() && error.job_id() == Some(&job_id("8")) && error.may_be_running());

    // The receiver is open during the drain.
    harness.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    assert!(shutdown.is_woken());
    assert_eq!(shutdown.await, []);
    assert_eq!(harness.daemon.elapsed(), seconds(0));
    assert_eq!(harness.wait.stats().submitted, 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_waits_after_grace_and_returns_their_jobs() {
    let (wait, mut daemon) = polling_wait();
    let requests = [request(), request()];
    let polled = spawn_wait(&wait, &requests[0]);
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    // Nobody polls this one, and another wait has the same job.
    let mut unpolled = task::spawn(call_wait(&wait, requests[1].clone()).await);
    assert!(unpolled.poll().is_pending());
    let post = daemon.next_post().await;
    post.accept("8");
    assert!(unpolled.poll().is_pending());
    let _same = task::spawn(call_wait(&wait, requests[1].clone()).await);

    let running = tokio::spawn({
        let wait = wait.clone();
        async move { wait.shutdown(seconds(10)).await }
    });
    let error = polled.await.unwrap().unwrap_err();
    assert_eq!(daemon.elapsed(), seconds(10));
    assert!(error.is_shutting_down() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error:?}");
    assert_eq!(error.job_id(), Some(&job_id("7")));
    // The unpolled wait has a second to be dropped.
    assert_eq!(bounded_paused(running).await.unwrap(), [job_id("7"), job_id("8")]);
    assert_eq!(daemon.elapsed(), seconds(11));
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_cancels_and_leaves_out_the_cancelled() {
    let (wait, mut daemon) = cancelling_wait();
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let shutdown = tokio::spawn({
        let wait = wait.clone();
        async move { wait.shutdown(seconds(0)).await }
    });
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_shutting_down() && error.drop_policy() == DropPolicy::Cancel);
    assert!(error.to_string().ends_with("cancelled when its request is dropped)"), "{error}");
    let cancel = loop {
        let request = daemon.next().await;
        if request.method == Method::DELETE {
            break request;
        }
    };
    assert!(!shutdown.is_finished());
    cancel.respond(202, r#"{"job_id":"7","state":"failed","error":"cancelled"}"#);
    assert_eq!(bounded_paused(shutdown).await.unwrap(), []);
    assert_eq!((wait.stats().cancelled, wait.stats().cancels_failed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_ever_for_cancels() {
    let (wait, mut daemon) = cancelling_wait();
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    waiting.abort();
    assert!(waiting.await.is_err());
    // The wait is gone, and its job may still run.
    let running = bounded_paused(wait.shutdown(seconds(0))).await;
    assert_eq!((running, daemon.elapsed()), (vec![job_id("7")], seconds(10)));
}

#[tokio::test(start_paused = true)]
async fn second_shutdown_continues() {
    let (wait, mut daemon) = polling_wait();
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    let mut dropped = task::spawn(wait.shutdown(seconds(60)));
    assert!(dropped.poll().is_pending());
    drop(dropped);
    assert!(wait.is_shutting_down());
    assert_eq!(bounded_paused(wait.shutdown(seconds(1))).await, [job_id("7")]);
    assert!(waiting.await.unwrap().unwrap_err().is_shutting_down());
    // It is not known that the job has ended.
    assert_eq!(bounded_paused(wait.shutdown(seconds(1))).await, [job_id("7")]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_shutdowns_return_the_same_jobs() {
    let (wait, mut daemon) = cancelling_wait();
    let cancelled = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let detached = spawn_wait(&wait, &detached_request());
    daemon.skip_to_post().await.accept("8");
    let shutdowns = [seconds(0), seconds(0), seconds(5)].map(|grace| {
        let wait = wait.clone();
        tokio::spawn(bounded_paused(async move { wait.shutdown(grace).await }))
    });
    assert!(cancelled.await.unwrap().is_err() && detached.await.unwrap().is_err());
    daemon.next_cancel().await.confirm_cancel();
    for shutdown in shutdowns {
        assert_eq!(shutdown.await.unwrap(), [job_id("8")]);
    }
    assert_eq!((wait.stats().cancelled, wait.stats().cancels_failed), (1, 0));
}

/// The jobs go on, although no wait for them is left when the service closes.
#[tokio::test(start_paused = true)]
async fn shutdown_returns_jobs_whose_cancel_fails_in_the_grace() {
    let (wait, mut daemon) = cancelling_wait();
    let [refused, running] = [DropPolicy::Cancel, DropPolicy::CancelIfQueued].map(|policy| {
        let request = SubmitRequest::builder("m").user("hi").on_drop(policy).build().unwrap();
        spawn_wait(&wait, &request)
    });
    daemon.skip_to_post().await.accept("7");
    daemon.skip_to_post().await.accept("8");
    let shutdown = tokio::spawn({
        let wait = wait.clone();
        async move { wait.shutdown(seconds(30)).await }
    });
    daemon.settle().await;
    while let Some(poll) = daemon.next_now().await {
        poll.respond_state("running");
    }
    refused.abort();
    daemon.next_cancel().await.respond(401, "");
    running.abort();
    loop {
        daemon.settle().await;
        match daemon.next_now().await {
            Some(poll) => poll.respond_state("running"),
            None => break,
        }
    }
    assert_eq!(bounded_paused(shutdown).await.unwrap(), [job_id("7"), job_id("8")]);
    assert_eq!((wait.stats().cancelled, wait.stats().cancels_failed), (0, 1));
}

/// A future that has completed is no wait any more, though its caller still holds it.
#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_completed_futures() {
    let (wait, mut daemon) = polling_wait();
    let mut completed = task::spawn(call_wait(&wait, request()).await);
    assert!(completed.poll().is_pending());
    daemon.next_post().await.accept("7");
    assert!(completed.poll().is_pending());
    daemon.next_get().await.respond_state("done");
    assert!(completed.poll().is_ready());
    assert_eq!(bounded_paused(wait.shutdown(seconds(60))).await, []);
    assert_eq!(daemon.elapsed(), seconds(0));
}

/// The result is known, and the wait is polled only after the service has closed.
#[tokio::test(start_paused = true)]
async fn completion_beats_shutdown() {
    let mut harness = WebhookHarness::signed();
    let mut waiting = task::spawn(call_wait(&harness.wait, request()).await);
    assert!(waiting.poll().is_pending());
    let post = harness.daemon.next_post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    assert!(waiting.poll().is_pending());
    harness.event(&url, "7", "done").await;
    assert_eq!(bounded_paused(harness.wait.shutdown(seconds(0))).await, []);
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn shutdown_without_waits_is_immediate() {
    let (wait, daemon) = polling_wait_with(|layer| layer);
    assert_eq!(bounded_paused(wait.shutdown(seconds(60))).await, []);
    assert_eq!(daemon.elapsed(), seconds(0));
}

/// A job that goes on has nobody left, whatever ended its wait.
#[tokio::test(start_paused = true)]
async fn shutdown_returns_jobs_whose_waits_ended_in_the_grace() {
    for dropped in [true, false] {
        let (wait, mut daemon) = polling_wait();
        let request = request().with_deadline((!dropped).then_some(seconds(2)));
        let waiting = spawn_wait(&wait, &request);
        let request = (!dropped).then_some(request);
        daemon.next_post().await.accept("7");
        daemon.next_get().await.respond_state("running");
        let done = spawn_wait(&wait, &crate::support::request());
        daemon.next_post().await.accept("8");
        daemon.settle().await;
        let shutdown = tokio::spawn({
            let wait = wait.clone();
            bounded_paused(async move { wait.shutdown(seconds(10)).await })
        });
        daemon.settle().await;
        if dropped {
            waiting.abort();
        }
        while !done.is_finished() || !(dropped || waiting.is_finished()) {
            let poll = daemon.next_get().await;
            let state = if poll.job() == "8" { "done" } else { "running" };
            poll.respond_state(state);
            daemon.settle().await;
        }
        let left = shutdown.await.unwrap();
        assert_eq!(left.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>(), ["7"], "dropped: {dropped}");
        drop(request);
    }
}

/// Its callers drop the requests a moment after their waits have ended.
#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_callers_to_drop_jobs_that_are_to_be_cancelled() {
    let (wait, mut daemon) = cancelling_wait();
    let request = request();
    let waiting = tokio::spawn({
        let wait = wait.clone();
        async move {
            let error = wait.oneshot(request.clone()).await.unwrap_err();
            tokio::time::sleep(millis(500)).await;
            drop(request);
            error
        }
    });
    daemon.next_post().await.accept("7");
    daemon.next_get().await.respond_state("running");
    let shutdown = tokio::spawn({
        let wait = wait.clone();
        bounded_paused(async move { wait.shutdown(seconds(0)).await })
    });
    daemon.next_cancel().await.confirm_cancel();
    assert_eq!(shutdown.await.unwrap(), []);
    assert!(waiting.await.unwrap().is_shutting_down());
    assert_eq!((wait.stats().cancelled, daemon.elapsed()), (1, millis(500)));
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_return_jobs_of_refused_calls() {
    let (wait, _daemon) = polling_wait();
    assert_eq!(bounded_paused(wait.shutdown(seconds(0))).await, []);
    drop(wait.attach().call(job_id("8")));
    assert_eq!(bounded_paused(wait.shutdown(seconds(0))).await, []);
}
