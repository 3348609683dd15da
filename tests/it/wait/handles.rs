//! What a handle on a submission sees.

use foreman_client::{JobState, StateChange, Via};
use futures_util::{FutureExt, StreamExt};

use crate::support::{Pushed, begin, called, polling, request};

fn seen(changes: &[StateChange]) -> Vec<(String, Via)> {
    changes.iter().map(|change| (change.state.to_string(), change.via)).collect()
}

fn expected(states: &[(&str, Via)]) -> Vec<(String, Via)> {
    states.iter().map(|(state, via)| ((*state).to_owned(), *via)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_jobs_id_comes_with_the_202() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let submission = request.submission();
    let accepted = tokio::spawn({
        let submission = submission.clone();
        async move { submission.accepted().await }
    });
    let waiting = begin(&wait, &request);
    let post = daemon.post().await;
    assert_eq!((submission.job_id(), submission.last_state()), (None, None));
    post.accept("7");
    assert_eq!(accepted.await.unwrap().unwrap().as_str(), "7");
    daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    drop(request);
    assert_eq!(submission.accepted().await.unwrap().as_str(), "7");
    assert_eq!(submission.last_state(), Some(JobState::Done));
}

#[tokio::test(start_paused = true)]
async fn states_come_once_each_with_what_told_them_first() {
    let mut it = Pushed::signed();
    let request = request();
    let states = request.submission().states();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    post.accept("7");
    it.daemon.get().await.tell("queued");
    it.daemon.settle().await;
    it.event(&url, "7", "queued").await;
    it.daemon.get().await.tell("queued");
    it.event(&url, "7", "running").await;
    it.daemon.get().await.tell("running");
    it.daemon.settle().await;
    it.event(&url, "7", "running").await;
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    it.event(&url, "7", "done").await;
    let changes: Vec<_> = states.collect().await;
    assert_eq!(seen(&changes), expected(&[("queued", Via::Poll), ("running", Via::Webhook), ("done", Via::Poll)]));
}

#[tokio::test(start_paused = true)]
async fn events_out_of_order_do_not_turn_states_back() {
    let mut it = Pushed::signed();
    let request = request();
    let submission = request.submission();
    let states = submission.states();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    let url = post.callback().unwrap();
    it.event(&url, "7", "running").await;
    it.event(&url, "7", "queued").await;
    assert_eq!(submission.last_state(), Some(JobState::Running));
    it.event(&url, "7", "done").await;
    it.event(&url, "7", "running").await;
    assert!(waiting.await.unwrap().is_ok());
    let changes: Vec<_> = states.collect().await;
    assert_eq!(seen(&changes), expected(&[("running", Via::Webhook), ("done", Via::Webhook)]));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_started_again_goes_through_its_states_again() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let states = request.submission().states();
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    for (state, attempt) in [("queued", 0), ("running", 1), ("queued", 1), ("running", 2), ("running", 1), ("done", 2)]
    {
        let body = format!(r#"{{"job_id":"7","state":"{state}","attempt":{attempt}}}"#);
        daemon.get().await.answer(200, body);
    }
    assert!(waiting.await.unwrap().is_ok());
    let changes: Vec<_> = states.map(|change| change.state.to_string()).collect().await;
    assert_eq!(changes, ["queued", "running", "queued", "running", "done"]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_sees_the_state_known_by_now_with_what_told_it() {
    let mut it = Pushed::signed();
    let request = request();
    let waiting = begin(&it.wait, &request);
    let post = it.daemon.post().await;
    it.event(&post.callback().unwrap(), "7", "running").await;
    let mut late = request.submission().states();
    let first = late.next().await.unwrap();
    assert_eq!((first.state, first.via), (JobState::Running, Via::Webhook));
    post.accept("7");
    it.daemon.get().await.tell("done");
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(late.next().await.unwrap().state, JobState::Done);
    assert!(late.next().await.is_none());

    let mut later = request.submission().states();
    assert_eq!(later.next().await.unwrap().via, Via::Webhook);
    let results = [later.next().await.map(|change| change.state), later.next().await.map(|change| change.state)];
    assert_eq!(results, [Some(JobState::Done), None]);
}

#[tokio::test(start_paused = true)]
async fn several_streams_see_the_same() {
    let (wait, mut daemon) = polling(|layer| layer);
    let request = request();
    let streams: Vec<_> = (0..3).map(|_| request.submission().states()).collect();
    let waiting = begin(&wait, &request);
    daemon.post().await.accept("7");
    for state in ["queued", "running", "done"] {
        daemon.get().await.tell(state);
    }
    assert!(waiting.await.unwrap().is_ok());
    for states in streams {
        let states: Vec<_> = states.map(|change| change.state.to_string()).collect().await;
        assert_eq!(states, ["queued", "running", "done"]);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_keep_nothing_alive_and_end_with_the_last_of_those_who_do() {
    for sent in [false, true] {
        let mut it = Pushed::signed();
        let request = request();
        let submission = request.submission();
        let (accepted, states) = (submission.accepted(), submission.states().collect::<Vec<_>>());
        let mut both = tokio_test::task::spawn(futures_util::future::join(accepted, states));
        assert!(both.poll().is_pending());
        let mut waiting = tokio_test::task::spawn(called(&it.wait, request.clone()).await);
        if sent {
            assert!(waiting.poll().is_pending());
            let _post = it.daemon.post().await;
        }
        drop(request);
        assert!(both.poll().is_pending() && it.notifier.waiting() == 1);
        drop(waiting);
        assert!(both.is_woken());
        assert_eq!(both.now_or_never(), Some((None, Vec::new())));
        assert_eq!(it.notifier.waiting(), 0);
        assert_eq!(submission.job_id(), None);
    }
}
