//! A daemon that asks one request to wait means all of them.

use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

use foreman_client::retry::RetrySubmission;
use foreman_client::wait::WaitLayerBuilder;
use foreman_client::{Notifier, WaitLayer};

use crate::support::{
    ScriptedDaemon, WebhookHarness, bounded_paused, exact_polls, millis, polling_wait, request, seconds, spawn_attach,
    spawn_wait,
};

#[tokio::test(start_paused = true)]
async fn refused_submission_pauses_all_submissions() {
    for status in [429, 503] {
        let (wait, mut daemon) = polling_wait();
        let refused = spawn_wait(&wait, &request());
        daemon.next_post().await.refuse(status, 30);
        assert!(refused.await.unwrap().unwrap_err().is_overloaded());
        let others: Vec<_> = (0..20).map(|_| spawn_wait(&wait, &request())).collect();
        // A job that runs is polled as before.
        let running = spawn_attach(&wait, "7");
        let poll = daemon.next_get().await;
        assert_eq!(poll.at, seconds(0));
        poll.respond_state("done");
        assert!(running.await.unwrap().is_ok());

        let mut times = Vec::new();
        for job in 0..others.len() {
            let post = daemon.skip_to_post().await;
            times.push(post.at);
            post.accept(&(10 + job).to_string());
        }
        assert!(times.iter().all(|at| (seconds(30)..=seconds(33)).contains(at)), "{times:?}");
        assert!(times[0] + millis(500) < times[19], "they do not come back together: {times:?}");
        others.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_policy_reports_refusals() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let waits = WaitLayer::builder(api.clone()).poll_policy(exact_polls().build().unwrap()).build().unwrap();
    let wait = waits.layer(ServiceBuilder::new().retry(RetrySubmission::default()).service(api));
    let first = tokio::spawn(bounded_paused(wait.clone().oneshot(request())));
    daemon.next_post().await.refuse(429, 10);
    let second = tokio::spawn(bounded_paused(wait.oneshot(request())));
    daemon.quiet_for(millis(9_900)).await;
    for _ in 0..2 {
        assert!(daemon.next_post().await.at <= seconds(11));
    }
    first.abort();
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn submission_whose_deadline_is_sooner_fails_at_once() {
    let (wait, mut daemon) = polling_wait();
    let refused = spawn_wait(&wait, &request());
    daemon.next_post().await.refuse(503, 30);
    assert!(refused.await.unwrap().is_err());
    let error = spawn_wait(&wait, &request().with_deadline(seconds(20))).await.unwrap().unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit() && !error.may_be_running(), "{error:?}");
    assert_eq!((error.retry_after(), daemon.elapsed()), (Some(seconds(30)), seconds(0)));
    let patient = spawn_wait(&wait, &request().with_deadline(seconds(40)));
    daemon.next_post().await.accept("7");
    patient.abort();
}

#[tokio::test(start_paused = true)]
async fn last_attempt_is_shortly_before_the_deadline() {
    for accepts in [true, false] {
        let (api, mut daemon) = ScriptedDaemon::new();
        let waits = WaitLayer::builder(api.clone()).build().unwrap();
        let retry = RetrySubmission::builder().last_attempt(seconds(1)).build().unwrap();
        let wait = waits.layer(ServiceBuilder::new().retry(retry).service(api));
        let request = request().with_deadline(seconds(8));
        let submission = request.submission();
        let waiting = tokio::spawn(bounded_paused(wait.oneshot(request)));
        daemon.next_post().await.refuse(503, 30);
        assert_eq!(submission.refused().await.retry_after(), Some(seconds(30)));
        let last = daemon.next_post().await;
        assert_eq!(last.at, seconds(7));
        if accepts {
            last.accept("7");
            assert_eq!(submission.accepted().await.unwrap().as_str(), "7");
            waiting.abort();
        } else {
            last.refuse(503, 30);
            let error = waiting.await.unwrap().unwrap_err();
            assert!(error.is_safe_to_resubmit() && error.is_overloaded(), "{error:?}");
            assert_eq!(daemon.elapsed(), seconds(7));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_poll_pauses_routine_polls_of_all_jobs() {
    let (wait, mut daemon) = polling_wait();
    let first = spawn_attach(&wait, "7");
    daemon.next_get().await.refuse(429, 30);
    daemon.settle().await;
    let second = spawn_attach(&wait, "8");
    // Submissions have a pause of their own.
    let third = spawn_wait(&wait, &request());
    daemon.next_post().await.accept("9");
    daemon.quiet_for(millis(29_900)).await;
    for _ in 0..3 {
        daemon.next_get().await.respond_state("done");
    }
    for wait in [first, second, third] {
        assert!(wait.await.unwrap().is_ok());
    }
}

/// The pause of a wait that followed another counted as the time in which the response of the next sender had to come.
#[tokio::test(start_paused = true)]
async fn paused_follower_leaves_the_next_sender_its_time() {
    let (wait, mut daemon) = polling_wait();
    let request = request();
    let first = spawn_wait(&wait, &request);
    let post = daemon.next_post().await;
    let clones = [spawn_wait(&wait, &request), spawn_wait(&wait, &request)];
    daemon.settle().await;
    post.refuse(429, 30);
    assert!(first.await.unwrap().unwrap_err().is_overloaded());
    let post = daemon.next_post().await;
    daemon.quiet_for(seconds(20)).await;
    assert!(clones.iter().all(|clone| !clone.is_finished()));
    post.accept("7");
    daemon.next_get().await.respond_state("done");
    for clone in clones {
        assert!(clone.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn lost_submission_is_not_resent_in_a_pause() {
    for window in [1, 10] {
        let mut harness = WebhookHarness::new(Notifier::new(), true, |layer| {
            layer.assume_idempotency().lost_response_window(seconds(window))
        });
        let lost = spawn_wait(&harness.wait, &request());
        harness.daemon.next_post().await.reset();
        let refused = spawn_wait(&harness.wait, &request());
        harness.daemon.next_post().await.refuse(429, 60);
        assert!(refused.await.unwrap().is_err());
        // A clone that comes in the pause waits for its end too.
        let other = request();
        let dropped = spawn_wait(&harness.wait, &other);
        harness.daemon.quiet_for(seconds(59)).await;
        let post = harness.daemon.next_post().await;
        assert!((seconds(60)..=seconds(66)).contains(&post.at), "{:?}", post.at);
        for task in [lost, dropped] {
            task.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pause_does_not_hide_the_deadline_of_a_lost_submission() {
    let mut harness = WebhookHarness::new(Notifier::new(), true, WaitLayerBuilder::assume_idempotency);
    let lost = spawn_wait(&harness.wait, &request().with_deadline(seconds(20)));
    harness.daemon.next_post().await.reset();
    let refused = spawn_wait(&harness.wait, &request());
    harness.daemon.next_post().await.refuse(429, 60);
    assert!(refused.await.unwrap().is_err());
    let error = lost.await.unwrap().unwrap_err();
    assert!(error.is_deadline() && error.may_be_running(), "{error:?}");
    assert_eq!(harness.daemon.elapsed(), seconds(20));
}

/// The deadline of one caller ended the retries of another.
#[tokio::test(start_paused = true)]
async fn short_deadline_of_clone_does_not_end_retries() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let waits = WaitLayer::builder(api.clone()).build().unwrap();
    let wait = waits.layer(ServiceBuilder::new().retry(RetrySubmission::default()).service(api));
    let request = request();
    let patient = tokio::spawn(bounded_paused(wait.clone().oneshot(request.clone())));
    let post = daemon.next_post().await;
    let hasty = tokio::spawn(bounded_paused(wait.with_deadline(Some(seconds(2))).oneshot(request)));
    daemon.settle().await;
    post.refuse(429, 5);
    let post = daemon.next_post().await;
    assert!(hasty.await.unwrap().unwrap_err().is_deadline());
    post.accept("7");
    daemon.next_get().await.respond_state("done");
    assert!(patient.await.unwrap().is_ok());
}

/// Before its own refusal, and after it.
#[tokio::test(start_paused = true)]
async fn retry_inside_obeys_the_pause_of_others() {
    for longer_first in [true, false] {
        let (api, mut daemon) = ScriptedDaemon::new();
        let retry = ServiceBuilder::new().retry(RetrySubmission::default());
        let wait = WaitLayer::new(api.clone()).layer(retry.service(api));
        let waits = [(); 2].map(|()| tokio::spawn(bounded_paused(wait.clone().oneshot(request()))));
        let (one, two) = (daemon.next_post().await, daemon.next_post().await);
        let (first, second) = if longer_first { (60, 1) } else { (1, 60) };
        one.refuse(429, first);
        daemon.settle().await;
        two.refuse(429, second);
        daemon.quiet_for(millis(59_900)).await;
        for _ in 0..2 {
            assert!(daemon.next_post().await.at <= seconds(67));
        }
        waits.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Waits that have the right to send and wait for a limit inside give it back.
#[tokio::test(start_paused = true)]
async fn waits_at_a_limit_inside_obey_the_pause() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let wait = WaitLayer::new(api.clone()).layer(ServiceBuilder::new().concurrency_limit(1).service(api));
    let waits: Vec<_> = (0..5).map(|_| tokio::spawn(bounded_paused(wait.clone().oneshot(request())))).collect();
    let post = daemon.next_post().await;
    daemon.settle().await;
    post.refuse(429, 60);
    daemon.quiet_for(millis(59_900)).await;
    // The daemon is slow to refuse: the others queue at the limit.
    let mut at = seconds(0);
    for _ in 0..3 {
        let post = daemon.next_post().await;
        assert!(post.at >= at + seconds(60), "{:?} after {at:?}", post.at);
        tokio::time::sleep(seconds(10)).await;
        at = daemon.elapsed();
        post.refuse(429, 60);
    }
    waits.iter().for_each(tokio::task::JoinHandle::abort);
}

/// One refused probe in each pause must not keep the others waiting for ever.
#[tokio::test(start_paused = true)]
async fn pause_of_a_retry_inside_is_bounded() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let retry = RetrySubmission::builder().no_budget().build().unwrap();
    let wait = WaitLayer::new(api.clone()).layer(ServiceBuilder::new().retry(retry).service(api));
    let waits: Vec<_> = (0..50).map(|_| tokio::spawn(wait.clone().oneshot(request()))).collect();
    while !waits.iter().all(tokio::task::JoinHandle::is_finished) {
        while let Some(post) = daemon.next_now().await {
            post.refuse(429, 60);
            daemon.settle().await;
        }
        tokio::time::sleep(seconds(1)).await;
    }
    // Four retries of at most 66 s.
    assert!(daemon.elapsed() <= seconds(270), "{:?}", daemon.elapsed());
}
