//! Answers that the daemon is asked to hold.

use std::time::Duration;

use foreman_client::source::PollPolicyBuilder;
use foreman_client::{JobId, WaitLayer};
use tower::{Layer, ServiceExt};

use super::{stream, turn};
use crate::support::{Asked, Daemon, exact, seconds};

const APPLIED: (&str, &str) = ("preference-applied", "wait=20");
const V1: (&str, &str) = ("etag", "\"v1\"");

fn long() -> PollPolicyBuilder {
    exact().long_poll(seconds(20))
}

/// An answer that the daemon holds for so long.
async fn hold(asked: Asked, time: Duration, headers: &[(&str, &str)]) {
    tokio::time::sleep(time).await;
    asked.tell_with("running", headers);
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_is_followed_at_once_by_the_next_poll_with_its_etag() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    for turn in 0..3_u64 {
        let (item, ()) = tokio::join!(futures_util::StreamExt::next(&mut stream), async {
            let asked = daemon.get().await;
            assert_eq!(asked.at, seconds(20 * turn));
            assert_eq!(asked.header("prefer"), Some("wait=20"));
            assert_eq!(asked.header("if-none-match"), (turn > 0).then_some("\"v1\""), "{turn}");
            hold(asked, seconds(20), &[APPLIED, V1]).await;
        });
        item.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_etag_is_the_one_that_is_sent() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    for (etag, known) in
        [(Some("\"a\""), None), (Some("W/\"b\""), Some("\"a\"")), (None, Some("W/\"b\"")), (None, None)]
    {
        let answer = |asked: Asked| {
            assert_eq!(asked.header("if-none-match"), known);
            let headers = [Some(APPLIED), etag.map(|etag| ("etag", etag))];
            asked.tell_with("running", &headers.into_iter().flatten().collect::<Vec<_>>());
        };
        turn(&mut stream, &mut daemon, answer).await.0.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_apply_it_is_asked_once_and_then_by_interval() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    for (nth, at) in [0, 1, 3, 7, 15].map(seconds).into_iter().enumerate() {
        let answer = |asked: Asked| {
            assert_eq!(asked.header("prefer"), (nth == 0).then_some("wait=20"));
            assert_eq!(asked.header("if-none-match"), None);
            asked.tell_with("running", &[V1]);
        };
        assert_eq!(turn(&mut stream, &mut daemon, answer).await.1, at);
    }
}

#[tokio::test(start_paused = true)]
async fn held_answers_that_come_at_once_do_not_storm() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    for nth in 0..50 {
        let (_, at) = turn(&mut stream, &mut daemon, |asked| asked.tell_with("running", &[APPLIED, V1])).await;
        assert_eq!(at, seconds(nth));
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_is_an_error_that_drops_the_etag_and_makes_a_pause() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    turn(&mut stream, &mut daemon, |asked| asked.tell_with("running", &[APPLIED, V1])).await.0.unwrap().unwrap();
    let (item, at) = turn(&mut stream, &mut daemon, |asked| {
        assert_eq!(asked.header("if-none-match"), Some("\"v1\""));
        asked.answer(304, "");
    })
    .await;
    assert_eq!((item.unwrap().unwrap_err().status().unwrap().as_u16(), at), (304, seconds(1)));
    let (_, at) = turn(&mut stream, &mut daemon, |asked| {
        assert_eq!((asked.header("prefer"), asked.header("if-none-match")), (Some("wait=20"), None));
        asked.tell_with("running", &[APPLIED]);
    })
    .await;
    assert_eq!(at, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_nothing_of_whether_the_daemon_holds() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    turn(&mut stream, &mut daemon, Asked::reset).await.0.unwrap().unwrap_err();
    let (_, at) = turn(&mut stream, &mut daemon, |asked| {
        assert_eq!(asked.header("prefer"), Some("wait=20"));
        asked.tell("running");
    })
    .await;
    assert_eq!(at, seconds(1));
}

#[tokio::test(start_paused = true)]
async fn under_a_second_there_is_nothing_to_ask_for() {
    let (mut stream, mut daemon) = stream(exact().long_poll(Duration::from_millis(900)).build().unwrap());
    turn(&mut stream, &mut daemon, |asked| {
        assert_eq!(asked.header("prefer"), None);
        asked.tell("running");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn at_most_half_of_the_polls_in_flight_are_held() {
    for (in_flight, held) in [(1, 1), (2, 1), (4, 2), (5, 3)] {
        let (api, mut daemon) = Daemon::new();
        let policy = long().in_flight(in_flight).build().unwrap();
        let wait = WaitLayer::builder(api.clone()).poll_policy(policy).build().unwrap().layer(api);
        let mut asked = Vec::new();
        for job in 0..6 {
            tokio::spawn(wait.clone().oneshot(JobId::new(job.to_string()).unwrap()));
            asked.push(daemon.get().await);
        }
        let is_held = |asked: &&Asked| asked.header("prefer").is_some();
        assert_eq!(asked.iter().filter(is_held).count(), held, "{in_flight} in flight");

        // A poll that is answered gives its place to the next one.
        let first = asked.iter().position(|asked| is_held(&asked)).unwrap();
        asked.swap_remove(first).tell_with("done", &[APPLIED]);
        tokio::spawn(wait.clone().oneshot(JobId::new("next").unwrap()));
        assert!(is_held(&&daemon.get().await), "{in_flight} in flight");
    }
}
