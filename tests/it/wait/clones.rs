//! Several waits on one submission: one POST, whatever happens.

use tower::Service;

use crate::support::{Daemon, Pushed, TestWait, begin, called, polling, request, seconds};

async fn learn_keys(wait: &TestWait, daemon: &mut Daemon) {
    let waiting = begin(wait, &request());
    daemon.post().await.accept_with_key("1");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_an_accepted_request_attaches_to_its_job() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let first = begin(&wait, &request);
    daemon.post().await.accept("7");
    daemon.get().await.tell("running");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    daemon.quiet_for(seconds(60)).await;

    let second = begin(&wait, &request);
    let asked = daemon.get().await;
    assert_eq!((asked.uri.path(), asked.at), ("/jobs/7", seconds(60)));
    asked.tell("done");
    let result = second.await.unwrap().unwrap();
    assert_eq!((wait.stats().submitted, wait.stats().attached, wait.stats().dropped), (1, 1, 1));

    // The end is known by now, and nobody is asked.
    let third = begin(&wait, &request).await.unwrap().unwrap();
    assert_eq!(third.content(), result.content());
    daemon.quiet_for(seconds(60)).await;
}

#[tokio::test(start_paused = true)]
async fn two_waits_at_once_send_once_and_end_together() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    let post = daemon.post().await;
    daemon.quiet_for(seconds(1)).await;
    post.accept("7");
    daemon.get().await.tell("running");
    let _in_flight = daemon.get().await;
    daemon.get().await.tell("done");
    let results = [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()];
    assert!(results.iter().all(|result| result.content().unwrap() == "told by a poll"));
    assert_eq!((wait.stats().submitted, wait.stats().attached), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_event_ends_all_waits_on_its_submission() {
    let mut it = Pushed::signed();
    let request = request();
    let waits: Vec<_> = (0..5).map(|_| begin(&it.wait, &request)).collect();
    let post = it.daemon.post().await;
    it.event(&post.callback().unwrap(), "7", "done").await;
    for waiting in waits {
        assert_eq!(waiting.await.unwrap().unwrap().content().unwrap(), "told by an event");
    }
    assert_eq!((it.wait.stats().submitted, it.wait.stats().finished_by_webhook), (1, 5));
    drop(request);
    assert_eq!(it.notifier.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_first_is_refused_the_one_behind_it_sends() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    daemon.post().await.answer(429, "");
    assert!(one.await.unwrap().unwrap_err().is_overloaded());
    daemon.post().await.accept("7");
    daemon.get().await.tell("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_dropped_before_it_was_polled_has_sent_nothing() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    drop(called(&wait, request.clone()).await);
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_the_first_is_dropped_while_it_sends_the_next_one_does_not_send_without_keys() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    let _post = daemon.post().await;
    one.abort();
    let error = other.await.unwrap().unwrap_err();
    assert!(error.is_maybe_submitted(), "{error:?}");
    daemon.quiet_for(seconds(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_first_is_dropped_while_it_sends_the_next_one_sends_again_with_keys() {
    let (wait, mut daemon) = polling(|layer| layer);
    learn_keys(&wait, &mut daemon).await;
    let request = request();
    let (one, other) = (begin(&wait, &request), begin(&wait, &request));
    let post = daemon.post().await;
    one.abort();
    let again = daemon.post().await;
    assert_eq!((again.header("idempotency-key"), &again.body), (post.header("idempotency-key"), &post.body));
    again.accept_with_key("7");
    daemon.get().await.tell("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_the_first_is_dropped_while_it_sends_an_event_tells_the_next_one_its_job() {
    let mut it = Pushed::unsigned();
    let request = request();
    let (one, other) = (begin(&it.wait, &request), begin(&it.wait, &request));
    let url = it.daemon.post().await.callback().unwrap();
    one.abort();
    it.daemon.quiet_for(seconds(5)).await;
    it.event(&url, "7", "queued").await;
    it.daemon.get().await.tell("done");
    assert!(other.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn several_waits_that_lost_the_answer_send_again_once() {
    let mut it = Pushed::signed();
    learn_keys(&it.wait, &mut it.daemon).await;
    let request = request();
    let waits: Vec<_> = (0..4).map(|_| begin(&it.wait, &request)).collect();
    it.daemon.post().await.reset();
    let again = it.daemon.post().await;
    it.daemon.quiet_for(seconds(20)).await;
    again.accept_with_key("7");
    it.daemon.get().await.tell("done");
    for waiting in waits {
        assert!(waiting.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_first_sent_without_a_callback_never_gets_one() {
    let (plain, mut daemon) = polling(|layer| layer);
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&plain, &request);
    let first = daemon.post().await;
    let body = first.body.clone();
    first.fail(std::io::ErrorKind::ConnectionRefused);
    assert!(waiting.await.unwrap().unwrap_err().is_safe_to_resubmit());

    let waiting = begin(&it.wait, &request);
    let second = it.daemon.post().await;
    assert_eq!((second.callback(), &second.body), (None, &body));
    assert_eq!(it.notifier.waiting(), 0);
    second.accept("7");
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn renewed_requests_are_jobs_of_their_own() {
    let mut it = Pushed::signed();
    let request = request();
    let (one, other) = (begin(&it.wait, &request), begin(&it.wait, &request.renew()));
    let posts = [it.daemon.post().await, it.daemon.post().await];
    assert_ne!(posts[0].callback(), posts[1].callback());
    assert_ne!(posts[0].header("idempotency-key"), posts[1].header("idempotency-key"));
    for (post, job) in posts.into_iter().zip(["7", "8"]) {
        post.accept(job);
    }
    for _ in 0..2 {
        it.daemon.get().await.tell("done");
    }
    assert_eq!(one.await.unwrap().unwrap().job_id.as_str(), "7");
    assert_eq!(other.await.unwrap().unwrap().job_id.as_str(), "8");
}

/// The daemon may not have its own job at hand the moment after it took it, whoever asks.
#[tokio::test(start_paused = true)]
async fn a_clone_that_attaches_right_after_the_202_has_the_grace_for_a_404_too() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let first = begin(&wait, &request);
    daemon.post().await.accept("7");
    let _in_flight = daemon.get().await;
    first.abort();
    let second = begin(&wait, &request);
    daemon.get().await.answer(404, "");
    daemon.get().await.tell("done");
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn polling_a_wait_again_after_its_end_does_nothing() {
    let (mut wait, mut daemon) = polling(|layer| layer);
    let waiting = Service::<foreman_client::JobId>::call(&mut wait, foreman_client::JobId::new("7").unwrap());
    let mut waiting = tokio_test::task::spawn(waiting);
    assert!(waiting.poll().is_pending());
    daemon.get().await.tell("done");
    assert!(waiting.poll().is_ready());
    assert!(waiting.poll().is_pending());
    assert_eq!(wait.stats().finished_by_poll, 1);
}
