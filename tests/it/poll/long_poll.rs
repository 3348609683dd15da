//! Answers that the daemon is asked to hold.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use foreman_client::WaitLayer;
use foreman_client::source::{PollPolicyBuilder, PollStream};
use futures_util::StreamExt;
use tower::Layer;

use super::{stream, turn};
use crate::support::{Asked, Daemon, TestApi, attach, exact, seconds};

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

/// A stream whose first look, which is plain, has told a state.
async fn looked(etag: Option<&'static str>) -> (Pin<Box<PollStream<TestApi>>>, Daemon) {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    let first = turn(&mut stream, &mut daemon, |asked| {
        assert_eq!((asked.header("prefer"), asked.header("if-none-match")), (None, None));
        let headers = etag.map(|etag| ("etag", etag));
        asked.tell_with("queued", headers.as_slice());
    });
    assert_eq!(first.await.1, seconds(0));
    (stream, daemon)
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_is_followed_at_once_by_the_next_poll_with_its_etag() {
    let (mut stream, mut daemon) = looked(Some("\"v0\"")).await;
    for turn in 0..3_u64 {
        let (item, ()) = tokio::join!(stream.next(), async {
            let asked = daemon.get().await;
            assert_eq!(asked.at, seconds(20 * turn));
            assert_eq!(asked.header("prefer"), Some("wait=20"));
            assert_eq!(asked.header("if-none-match"), Some(if turn > 0 { "\"v1\"" } else { "\"v0\"" }));
            hold(asked, seconds(20), &[APPLIED, V1]).await;
        });
        item.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_etag_is_the_one_that_is_sent() {
    let (mut stream, mut daemon) = looked(None).await;
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
    let (mut stream, mut daemon) = looked(Some("\"v0\"")).await;
    for (nth, at) in [0, 1, 3, 7, 15].map(seconds).into_iter().enumerate() {
        let answer = |asked: Asked| {
            assert_eq!(asked.header("prefer"), (nth == 0).then_some("wait=20"));
            assert_eq!(asked.header("if-none-match"), (nth == 0).then_some("\"v0\""));
            asked.tell_with("running", &[V1]);
        };
        assert_eq!(turn(&mut stream, &mut daemon, answer).await.1, at);
    }
}

#[tokio::test(start_paused = true)]
async fn held_answers_that_come_at_once_do_not_storm() {
    let (mut stream, mut daemon) = looked(None).await;
    for nth in 0..50 {
        let (_, at) = turn(&mut stream, &mut daemon, |asked| asked.tell_with("running", &[APPLIED, V1])).await;
        assert_eq!(at, seconds(nth));
    }
}

#[tokio::test(start_paused = true)]
async fn held_answers_with_news_follow_each_other_but_not_for_ever() {
    let (mut stream, mut daemon) = looked(Some("\"v0\"")).await;
    let mut asked_at = Vec::new();
    for nth in 1..=12 {
        let etag = format!("\"v{nth}\"");
        let answer = |asked: Asked| asked.tell_with("running", &[APPLIED, ("etag", &etag)]);
        asked_at.push(turn(&mut stream, &mut daemon, answer).await.1);
    }
    let expected = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3].map(seconds);
    assert_eq!(asked_at, expected);
}

#[tokio::test(start_paused = true)]
async fn a_304_is_an_error_that_drops_the_etag_and_makes_a_pause() {
    let (mut stream, mut daemon) = looked(None).await;
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
    let (mut stream, mut daemon) = looked(None).await;
    for at in [0, 1] {
        let (item, asked_at) = turn(&mut stream, &mut daemon, |asked| {
            assert_eq!(asked.header("prefer"), Some("wait=20"));
            if at == 0 { asked.reset() } else { asked.tell("running") }
        })
        .await;
        assert_eq!((item.unwrap().is_err(), asked_at), (at == 0, seconds(at)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_before_a_first_state_is_known() {
    let (mut stream, mut daemon) = stream(long().build().unwrap());
    for at in [0, 1, 3] {
        let (_, asked_at) = turn(&mut stream, &mut daemon, |asked| {
            assert_eq!(asked.header("prefer"), None);
            if at < 3 { asked.reset() } else { asked.tell("running") }
        })
        .await;
        assert_eq!(asked_at, seconds(at));
    }
    turn(&mut stream, &mut daemon, |asked| {
        assert_eq!((asked.header("prefer"), asked.at), (Some("wait=20"), seconds(3)));
        asked.tell("done");
    })
    .await;
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
async fn long_polls_in_flight_are_limited() {
    for limit in [0, 1, 2, 5] {
        let (api, mut daemon) = Daemon::new();
        let policy = long().max_long_polls(limit).build().unwrap();
        let wait = WaitLayer::builder(api.clone()).poll_policy(policy).build().unwrap().layer(api);
        for job in 0..6 {
            attach(&wait, &job.to_string());
        }
        // The first poll of each is an ordinary one. Of the second ones, as many as the limit are long polls.
        let (mut polled, mut second) = (HashSet::new(), Vec::new());
        while second.len() < 6 {
            let next = daemon.get().await;
            if polled.insert(next.job()) { next.tell("running") } else { second.push(next) }
        }
        let is_long = |asked: &Asked| asked.header("prefer").is_some();
        assert_eq!(second.iter().filter(|asked| is_long(asked)).count(), limit, "limit {limit}");

        if limit == 0 {
            continue;
        }
        // A long poll that ends makes room for another.
        let (mut long, ordinary): (Vec<_>, Vec<_>) = second.into_iter().partition(is_long);
        long.swap_remove(0).tell_with("done", &[APPLIED]);
        ordinary.into_iter().next().unwrap().tell("running");
        assert!(is_long(&daemon.get().await), "limit {limit}");
    }
}
