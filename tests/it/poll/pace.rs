//! The pauses between polls that are not held.

use std::io;
use std::time::Duration;

use foreman_client::source::PollPolicy;
use futures_util::StreamExt;

use super::{stream, turn};
use crate::support::{Asked, exact, seconds};

fn running(asked: Asked) {
    asked.tell("running");
}

/// When the first `n` polls go out.
async fn times(policy: PollPolicy, n: usize, answer: fn(Asked)) -> Vec<Duration> {
    let (mut stream, mut daemon) = stream(policy);
    let mut times = Vec::new();
    for _ in 0..n {
        times.push(turn(&mut stream, &mut daemon, answer).await.1);
    }
    times
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_goes_out_at_once_and_the_pauses_grow_up_to_the_longest() {
    let times = times(exact().build().unwrap(), 7, running).await;
    assert_eq!(times, [0, 1, 3, 7, 15, 23, 31].map(seconds));
}

#[tokio::test(start_paused = true)]
async fn a_fixed_interval_stays_within_its_jitter() {
    let times = times(PollPolicy::every(seconds(2)).unwrap(), 200, running).await;
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The first one is a random phase, so that jobs that begin together are drawn apart.
    assert!((seconds(1)..=Duration::from_millis(2_001)).contains(&pauses[0]), "{:?}", pauses[0]);
    for pause in &pauses[1..] {
        assert!((Duration::from_millis(1_800)..=Duration::from_millis(2_201)).contains(pause), "{pause:?}");
    }
    assert!(pauses[1..].iter().any(|pause| *pause != pauses[1]), "there is some jitter");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_begin_together_do_not_stay_together() {
    let mut seconds_polls = Vec::new();
    for _ in 0..20 {
        seconds_polls.push(times(PollPolicy::every(seconds(2)).unwrap(), 2, running).await[1]);
    }
    seconds_polls.sort();
    seconds_polls.dedup();
    assert!(seconds_polls.len() > 10, "{seconds_polls:?}");
}

#[tokio::test(start_paused = true)]
async fn the_pause_begins_when_the_answer_has_come_and_the_reader_asks_again() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    let (_, first) = turn(&mut stream, &mut daemon, running).await;
    tokio::time::sleep(seconds(10)).await;
    let (_, second) = turn(&mut stream, &mut daemon, running).await;
    assert_eq!((first, second), (seconds(0), seconds(11)));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_the_limit_and_does_not_grow_the_pauses() {
    let (mut stream, mut daemon) = stream(exact().max_retry_after(seconds(40)).build().unwrap());
    let mut later = async |after: &'static str| {
        let busy = http::Response::builder().status(429).header("retry-after", after);
        let (item, at) = turn(&mut stream, &mut daemon, |asked| asked.respond(busy.body("{}".into()).unwrap())).await;
        assert!(item.unwrap().unwrap_err().is_overloaded());
        at
    };
    assert_eq!(later("5").await, seconds(0));
    assert_eq!(later("3600").await, seconds(5));
    assert_eq!(later("Sun, 06 Nov 1994 08:49:37 GMT").await, seconds(45));
    // A date that is past, or no time at all, makes the shortest pause there is; what is neither makes the usual one.
    assert_eq!(later("0").await, seconds(46));
    assert_eq!(later("soon").await, seconds(47));
    assert_eq!(later("2").await, seconds(48));
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, seconds(50));
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, seconds(52));
}

#[tokio::test(start_paused = true)]
async fn it_ends_behind_a_terminal_state_and_asks_no_more() {
    for state in ["done", "failed"] {
        let (mut stream, mut daemon) = stream(exact().build().unwrap());
        let (item, _) = turn(&mut stream, &mut daemon, |asked| asked.tell(state)).await;
        assert_eq!(item.unwrap().unwrap().state.as_str(), state);
        for _ in 0..3 {
            assert!(stream.next().await.is_none());
        }
        stream.as_mut().poll_now();
        assert!(stream.next().await.is_none());
        daemon.quiet_for(seconds(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_nobody_knows_is_told_and_is_not_the_end() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    let (item, _) = turn(&mut stream, &mut daemon, |asked| asked.tell("paused")).await;
    assert_eq!(item.unwrap().unwrap().state.as_str(), "paused");
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, seconds(1));
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_end_it() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    let failures: [fn(Asked); 6] = [
        |asked| asked.answer(500, ""),
        |asked| asked.answer(401, ""),
        |asked| asked.answer(404, ""),
        |asked| asked.answer(200, "nonsense"),
        Asked::reset,
        |asked| asked.fail(io::ErrorKind::ConnectionRefused),
    ];
    for failure in failures {
        let (item, _) = turn(&mut stream, &mut daemon, failure).await;
        item.unwrap().unwrap_err();
    }
    daemon.not_ready("the pool is shut");
    assert!(stream.next().await.unwrap().is_err());
    let (item, _) = turn(&mut stream, &mut daemon, |asked| asked.tell("done")).await;
    assert_eq!(item.unwrap().unwrap().state.as_str(), "done");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_pending_next_loses_neither_the_poll_nor_the_pause() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    turn(&mut stream, &mut daemon, running).await;
    for _ in 0..4 {
        let half = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
        assert!(half.is_err());
    }
    // The pause of a second ended in the fourth try, and the poll has been in flight since.
    let asked = daemon.get().await;
    assert_eq!(daemon.clock(), Duration::from_millis(1_200));
    asked.tell("queued");
    assert_eq!(stream.next().await.unwrap().unwrap().state.as_str(), "queued");
}
