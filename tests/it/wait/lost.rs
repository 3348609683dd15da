//! Submissions whose answer was lost.

use foreman_client::SubmitRequest;

use crate::support::{Asked, Daemon, Pushed, TestWait, begin, polling, request, seconds};

/// Lets the service learn that the daemon keeps keys: a job that was accepted and finished.
async fn learn_keys(wait: &TestWait, daemon: &mut Daemon) {
    let waiting = begin(wait, &request());
    daemon.post().await.accept_with_key("1");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

/// The POST of a re-send, which must be the same as the first.
fn assert_same(again: &Asked, request: &SubmitRequest, callback: Option<&str>) {
    assert_eq!(again.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
    assert_eq!(again.body, request.body());
    assert_eq!(again.callback().as_deref(), callback);
}

#[tokio::test(start_paused = true)]
async fn the_first_event_on_its_callback_says_which_job_it_became() {
    for signed in [true, false] {
        for state in ["queued", "running"] {
            let mut it = if signed { Pushed::signed() } else { Pushed::unsigned() };
            let request = request();
            let waiting = begin(&it.wait, &request);
            let post = it.daemon.post().await;
            let url = post.callback().unwrap();
            post.reset();
            it.daemon.quiet_for(seconds(9)).await;
            assert_eq!(it.event(&url, "7", state).await, 204);
            let asked = it.daemon.get().await;
            assert_eq!((asked.at, asked.uri.path()), (seconds(9), "/jobs/7"));
            assert_eq!(request.submission().job_id().unwrap().as_str(), "7");
            asked.tell("done");
            assert!(waiting.await.unwrap().is_ok());
            let stats = it.wait.stats();
            assert_eq!((stats.submitted, stats.attached, stats.lost_responses), (1, 0, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_signed_event_of_the_end_completes_it() {
    let mut it = Pushed::signed();
    let waiting = begin(&it.wait, &request());
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.reset();
    it.daemon.quiet_for(seconds(3)).await;
    it.event(&url, "7", "done").await;
    assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by an event");
    it.daemon.quiet_for(seconds(100)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_came_before_the_loss_names_the_job_at_once() {
    for new in [Pushed::signed, Pushed::unsigned] {
        let mut it = new();
        let waiting = begin(&it.wait, &request());
        let post = it.daemon.post().await;
        it.event(&post.callback().unwrap(), "7", "running").await;
        it.daemon.quiet_for(seconds(1)).await;
        post.reset();
        let asked = it.daemon.get().await;
        assert_eq!((asked.at, asked.uri.path()), (seconds(1), "/jobs/7"));
        asked.tell("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

/// Some of what may answer a POST has not to do with the daemon, and an event shows that it has arrived.
#[tokio::test(start_paused = true)]
async fn an_event_outdoes_an_answer_that_says_that_nothing_arrived() {
    for new in [Pushed::signed, Pushed::unsigned] {
        let mut it = new();
        let waiting = begin(&it.wait, &request());
        let post = it.daemon.post().await;
        it.event(&post.callback().unwrap(), "7", "running").await;
        it.daemon.quiet_for(seconds(1)).await;
        post.answer(404, "not found on this replica");
        let asked = it.daemon.get().await;
        assert_eq!(asked.uri.path(), "/jobs/7");
        asked.tell("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_unusable_202_is_a_lost_answer() {
    for body in ["", "{}", r#"{"job_id":"a/b"}"#] {
        let mut it = Pushed::signed();
        let waiting = begin(&it.wait, &request());
        let post = it.daemon.post().await;
        let url = post.callback().unwrap();
        post.answer(202, body);
        it.daemon.quiet_for(seconds(1)).await;
        it.event(&url, "7", "done").await;
        assert!(waiting.await.unwrap().is_ok(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_keys_it_is_never_sent_again_and_the_error_says_that_a_job_may_run() {
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&it.wait, &request);
    it.daemon.post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(it.daemon.clock(), seconds(10));
    assert!(error.is_maybe_submitted() && error.may_be_running() && !error.is_safe_to_resubmit(), "{error}");
    assert_eq!(error.idempotency_key(), Some(request.submission().idempotency_key()));
    it.daemon.quiet_for(seconds(1_000)).await;

    // An event may still come: a clone is the way to find the job.
    let url = Pushed::url(&request);
    let waiting = begin(&it.wait, &request);
    it.daemon.quiet_for(seconds(1)).await;
    it.event(&url, "7", "done").await;
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(it.wait.stats().submitted, 1);
}

#[tokio::test(start_paused = true)]
async fn with_keys_it_is_sent_again_with_the_same_key_and_the_same_bytes() {
    let mut it = Pushed::signed();
    learn_keys(&it.wait, &mut it.daemon).await;
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    let url = post.callback();
    assert_same(&post, &request, url.as_deref());
    post.reset();
    let again = it.daemon.post().await;
    assert_eq!(again.at, seconds(10));
    assert_same(&again, &request, url.as_deref());
    again.accept_with_key("7");
    it.daemon.get().await.tell("done");
    assert_eq!(waiting.await.unwrap().unwrap().job_id.as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn with_keys_it_is_sent_again_only_so_often_whatever_the_answers_say() {
    let mut it = Pushed::signed();
    learn_keys(&it.wait, &mut it.daemon).await;
    let waiting = begin(&it.wait, &request());
    let answers: [fn(Asked); 4] = [
        Asked::reset,
        |asked| asked.fail(std::io::ErrorKind::ConnectionRefused),
        |asked| asked.answer(422, r#"{"error":"another body"}"#),
        |asked| asked.answer(503, ""),
    ];
    for answer in answers {
        answer(it.daemon.post().await);
    }
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    assert_eq!(it.daemon.clock(), seconds(40));
    it.daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn by_polling_alone_the_error_comes_at_once_with_what_happened() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.reset();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted());
    assert_eq!(error.to_string(), "POST http://daemon.test/jobs: connection to the daemon lost");
    assert_eq!(daemon.clock(), seconds(0));

    // Without keys a clone does not send it again either.
    let error = begin(&wait, &request).await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(1_000)).await;

    // What the caller renews is another job.
    let waiting = begin(&wait, &request.renew());
    let post = daemon.post().await;
    assert_ne!(post.header("idempotency-key"), Some(&*request.submission().idempotency_key().to_string()));
    post.accept("8");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn by_polling_alone_a_clone_sends_again_what_a_key_protects() {
    let (wait, mut daemon) = polling(|layer| layer);
    learn_keys(&wait, &mut daemon).await;
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    let waiting = begin(&wait, &request);
    let again = daemon.post().await;
    assert_same(&again, &request, None);
    again.accept_with_key("7");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn that_a_re_send_did_not_arrive_says_nothing_of_the_first() {
    let (wait, mut daemon) = polling(|layer| layer);
    learn_keys(&wait, &mut daemon).await;
    let request = request();
    let waiting = begin(&wait, &request);
    daemon.post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    for kind in [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::ConnectionReset] {
        let waiting = begin(&wait, &request);
        daemon.post().await.fail(kind);
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_maybe_submitted() && !error.is_safe_to_resubmit() && error.is_retryable(), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_has_not_sent_it() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    let post = daemon.post().await;
    daemon.allow(0);
    post.answer(429, "");
    assert!(one.await.unwrap().unwrap_err().is_safe_to_resubmit());
    daemon.quiet_for(seconds(1)).await;
    daemon.not_ready("the pool is shut");
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_safe_to_resubmit() && !error.is_maybe_submitted(), "{error:?}");
    daemon.allow(100);
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_surely_did_not_arrive_may_be_sent_again_by_a_clone() {
    for new in [Pushed::signed, Pushed::unsigned] {
        let mut it = new();
        let request = request();
        let waiting = begin(&it.wait, &request);
        let first = it.daemon.post().await;
        let url = first.callback();
        first.fail(std::io::ErrorKind::ConnectionRefused);
        assert!(waiting.await.unwrap().unwrap_err().is_safe_to_resubmit());
        let waiting = begin(&it.wait, &request);
        let again = it.daemon.post().await;
        assert_same(&again, &request, url.as_deref());
        again.accept("7");
        it.daemon.get().await.tell("done");
        assert!(waiting.await.unwrap().is_ok());
    }
}
