//! Long polls: responses that the daemon delays until the state changes.

use std::collections::HashSet;
use std::time::Duration;

use foreman_client::WaitLayer;
use foreman_client::source::PollPolicyBuilder;
use tower::Layer;

use super::{Stream, next, respond_once, stream_of};
use crate::support::{ReceivedRequest, ScriptedDaemon, exact_polls, millis, seconds, spawn_attach};

const APPLIED: (&str, &str) = ("preference-applied", "wait=20");
const V1: (&str, &str) = ("etag", "\"v1\"");

fn long_polls() -> PollPolicyBuilder {
    exact_polls().long_poll(seconds(20))
}

/// Responds after `time`.
async fn respond_after(request: ReceivedRequest, time: Duration, headers: &[(&str, &str)]) {
    tokio::time::sleep(time).await;
    request.respond_state_with("running", headers);
}

/// A stream after its first poll, which is not a long poll.
async fn polled_once(etag: Option<&'static str>) -> (Stream, ScriptedDaemon) {
    let (mut stream, mut daemon) = stream_of(long_polls().build().unwrap());
    let first = respond_once(&mut stream, &mut daemon, |request| {
        assert_eq!((request.header("prefer"), request.header("if-none-match")), (None, None));
        let headers = etag.map(|etag| ("etag", etag));
        request.respond_state_with("queued", headers.as_slice());
    });
    assert_eq!(first.await.1, seconds(0));
    (stream, daemon)
}

#[tokio::test(start_paused = true)]
async fn long_poll_is_followed_at_once_with_its_etag() {
    let (mut stream, mut daemon) = polled_once(Some("\"v0\"")).await;
    for nth in 0..3_u64 {
        let (item, ()) = tokio::join!(next(&mut stream), async {
            let poll = daemon.next_get().await;
            assert_eq!(poll.at, seconds(20 * nth));
            assert_eq!(poll.header("prefer"), Some("wait=20"));
            assert_eq!(poll.header("if-none-match"), Some(if nth > 0 { "\"v1\"" } else { "\"v0\"" }));
            respond_after(poll, seconds(20), &[APPLIED, V1]).await;
        });
        item.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn newest_etag_is_sent() {
    let (mut stream, mut daemon) = polled_once(None).await;
    for (etag, known) in
        [(Some("\"a\""), None), (Some("W/\"b\""), Some("\"a\"")), (None, Some("W/\"b\"")), (None, None)]
    {
        let respond = |request: ReceivedRequest| {
            assert_eq!(request.header("if-none-match"), known);
            let headers = [Some(APPLIED), etag.map(|etag| ("etag", etag))];
            request.respond_state_with("running", &headers.into_iter().flatten().collect::<Vec<_>>());
        };
        respond_once(&mut stream, &mut daemon, respond).await.0.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn unsupported_long_poll_falls_back_to_interval() {
    let (mut stream, mut daemon) = polled_once(Some("\"v0\"")).await;
    for (nth, at) in [0, 1, 2, 4, 8].map(seconds).into_iter().enumerate() {
        let respond = |request: ReceivedRequest| {
            assert_eq!(request.header("prefer"), (nth == 0).then_some("wait=20"));
            assert_eq!(request.header("if-none-match"), (nth == 0).then_some("\"v0\""));
            request.respond_state_with("running", &[V1]);
        };
        assert_eq!(respond_once(&mut stream, &mut daemon, respond).await.1, at);
    }
}

#[tokio::test(start_paused = true)]
async fn immediate_long_polls_are_paced() {
    let (mut stream, mut daemon) = polled_once(None).await;
    for nth in 0..50 {
        let (_, at) =
            respond_once(&mut stream, &mut daemon, |request| request.respond_state_with("running", &[APPLIED, V1]))
                .await;
        assert_eq!(at, seconds(nth));
    }
}

#[tokio::test(start_paused = true)]
async fn changing_etags_are_followed_eight_times() {
    let (mut stream, mut daemon) = polled_once(Some("\"v0\"")).await;
    let mut polled_at = Vec::new();
    for nth in 1..=12 {
        let etag = format!("\"v{nth}\"");
        let respond = |request: ReceivedRequest| request.respond_state_with("running", &[APPLIED, ("etag", &etag)]);
        polled_at.push(respond_once(&mut stream, &mut daemon, respond).await.1);
    }
    let expected = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3].map(seconds);
    assert_eq!(polled_at, expected);
}

#[tokio::test(start_paused = true)]
async fn status_304_is_an_error_and_drops_etag() {
    let (mut stream, mut daemon) = polled_once(None).await;
    respond_once(&mut stream, &mut daemon, |request| request.respond_state_with("running", &[APPLIED, V1]))
        .await
        .0
        .unwrap()
        .unwrap();
    let (item, at) = respond_once(&mut stream, &mut daemon, |request| {
        assert_eq!(request.header("if-none-match"), Some("\"v1\""));
        request.respond(304, "");
    })
    .await;
    assert_eq!((item.unwrap().unwrap_err().status().unwrap().as_u16(), at), (304, seconds(1)));
    let (_, at) = respond_once(&mut stream, &mut daemon, |request| {
        assert_eq!((request.header("prefer"), request.header("if-none-match")), (Some("wait=20"), None));
        request.respond_state_with("running", &[APPLIED]);
    })
    .await;
    assert_eq!(at, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn failed_long_poll_is_repeated() {
    let (mut stream, mut daemon) = polled_once(None).await;
    for at in [0, 1] {
        let (item, polled_at) = respond_once(&mut stream, &mut daemon, |request| {
            assert_eq!(request.header("prefer"), Some("wait=20"));
            if at == 0 { request.reset() } else { request.respond_state("running") }
        })
        .await;
        assert_eq!((item.unwrap().is_err(), polled_at), (at == 0, seconds(at)));
    }
}

#[tokio::test(start_paused = true)]
async fn no_long_poll_before_first_state() {
    let (mut stream, mut daemon) = stream_of(long_polls().build().unwrap());
    for at in [0, 1, 3] {
        let (_, polled_at) = respond_once(&mut stream, &mut daemon, |request| {
            assert_eq!(request.header("prefer"), None);
            if at < 3 { request.reset() } else { request.respond_state("running") }
        })
        .await;
        assert_eq!(polled_at, seconds(at));
    }
    respond_once(&mut stream, &mut daemon, |request| {
        assert_eq!((request.header("prefer"), request.at), (Some("wait=20"), seconds(3)));
        request.respond_state("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn long_poll_under_one_second_is_plain() {
    let (mut stream, mut daemon) = stream_of(exact_polls().long_poll(millis(900)).build().unwrap());
    respond_once(&mut stream, &mut daemon, |request| {
        assert_eq!(request.header("prefer"), None);
        request.respond_state("running");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn long_polls_in_flight_are_limited() {
    for limit in [0, 1, 2, 5] {
        let (api, mut daemon) = ScriptedDaemon::new();
        let policy = long_polls().max_long_polls(limit).build().unwrap();
        let wait = WaitLayer::builder(api.clone()).poll_policy(policy).build().unwrap().layer(api);
        for job in 0..6 {
            spawn_attach(&wait, &job.to_string());
        }
        // The first poll of each is an ordinary one. Of the second ones, as many as the limit are long polls.
        let (mut polled, mut second) = (HashSet::new(), Vec::new());
        while second.len() < 6 {
            let next = daemon.next_get().await;
            if polled.insert(next.job()) { next.respond_state("running") } else { second.push(next) }
        }
        let is_long = |poll: &ReceivedRequest| poll.header("prefer").is_some();
        assert_eq!(second.iter().filter(|poll| is_long(poll)).count(), limit, "limit {limit}");

        if limit == 0 {
            continue;
        }
        // A long poll that ends makes room for another.
        let (mut long, ordinary): (Vec<_>, Vec<_>) = second.into_iter().partition(is_long);
        long.swap_remove(0).respond_state_with("done", &[APPLIED]);
        ordinary.into_iter().next().unwrap().respond_state("running");
        assert!(is_long(&daemon.next_get().await), "limit {limit}");
    }
}
