//! The intervals between polls that are not long polls.

use std::io;
use std::time::Duration;

use foreman_client::source::PollPolicy;

use super::{next, respond_once, respond_running, stream_of};
use crate::support::{ReceivedRequest, exact_polls, millis, seconds};

/// The times of the first `n` polls of a running job.
async fn poll_times(policy: PollPolicy, n: usize) -> Vec<Duration> {
    let (mut stream, mut daemon) = stream_of(policy);
    let mut times = Vec::new();
    for _ in 0..n {
        times.push(respond_once(&mut stream, &mut daemon, respond_running).await.1);
    }
    times
}

#[tokio::test(start_paused = true)]
async fn intervals_grow_to_maximum() {
    let times = poll_times(exact_polls().build().unwrap(), 7).await;
    assert_eq!(times, [0, 1, 2, 4, 8, 16, 24].map(seconds));
}

#[tokio::test(start_paused = true)]
async fn fixed_interval_stays_within_jitter() {
    let times = poll_times(PollPolicy::every(seconds(2)).unwrap(), 200).await;
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The first pause is random, so that jobs that start together drift apart.
    assert!((seconds(1)..=millis(2_001)).contains(&pauses[0]), "{:?}", pauses[0]);
    for pause in &pauses[1..] {
        assert!((millis(1_800)..=millis(2_201)).contains(pause), "{pause:?}");
    }
    assert!(pauses[1..].iter().any(|pause| *pause != pauses[1]), "no jitter");
}

#[tokio::test(start_paused = true)]
async fn simultaneous_jobs_drift_apart() {
    let mut second_polls = Vec::new();
    for _ in 0..20 {
        second_polls.push(poll_times(PollPolicy::every(seconds(2)).unwrap(), 2).await[1]);
    }
    second_polls.sort();
    second_polls.dedup();
    assert!(second_polls.len() > 10, "{second_polls:?}");
}

#[tokio::test(start_paused = true)]
async fn pause_starts_with_next_read() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    let (_, first) = respond_once(&mut stream, &mut daemon, respond_running).await;
    tokio::time::sleep(seconds(10)).await;
    let (_, second) = respond_once(&mut stream, &mut daemon, respond_running).await;
    assert_eq!((first, second), (seconds(0), seconds(18)));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_capped_and_keeps_interval() {
    let (mut stream, mut daemon) = stream_of(exact_polls().max_retry_after(seconds(40)).build().unwrap());
    let mut respond_busy = async |retry_after: &'static str| {
        let busy = http::Response::builder().status(429).header("retry-after", retry_after);
        let (item, at) =
            respond_once(&mut stream, &mut daemon, |request| request.respond_with(busy.body("{}".into()).unwrap()))
                .await;
        assert!(item.unwrap().unwrap_err().is_overloaded());
        at
    };
    assert_eq!(respond_busy("5").await, seconds(0));
    assert_eq!(respond_busy("3600").await, seconds(5));
    assert_eq!(respond_busy("Sun, 06 Nov 1994 08:49:37 GMT").await, seconds(45));
    // A date in the past, 0 and an invalid value mean the regular interval, which is the shortest pause.
    assert_eq!(respond_busy("0").await, seconds(53));
    assert_eq!(respond_busy("soon").await, seconds(61));
    assert_eq!(respond_busy("2").await, seconds(69));
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, seconds(77));
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, seconds(85));
}

#[tokio::test(start_paused = true)]
async fn stream_ends_after_terminal_state() {
    for state in ["done", "failed"] {
        let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
        let (item, _) = respond_once(&mut stream, &mut daemon, |request| request.respond_state(state)).await;
        assert_eq!(item.unwrap().unwrap().state.as_str(), state);
        for _ in 0..3 {
            assert!(next(&mut stream).await.is_none());
        }
        stream.as_mut().poll_now();
        assert!(next(&mut stream).await.is_none());
        daemon.quiet_for(seconds(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_state_is_yielded_and_not_terminal() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    let (item, _) = respond_once(&mut stream, &mut daemon, |request| request.respond_state("paused")).await;
    assert_eq!(item.unwrap().unwrap().state.as_str(), "paused");
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, seconds(1));
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_end_stream() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    let failures: [fn(ReceivedRequest); 6] = [
        |request| request.respond(500, ""),
        |request| request.respond(401, ""),
        |request| request.respond(404, ""),
        |request| request.respond(200, "nonsense"),
        ReceivedRequest::reset,
        |request| request.fail(io::ErrorKind::ConnectionRefused),
    ];
    for failure in failures {
        let (item, _) = respond_once(&mut stream, &mut daemon, failure).await;
        item.unwrap().unwrap_err();
    }
    daemon.fail_ready("the pool is closed");
    assert!(next(&mut stream).await.unwrap().is_err());
    let (item, _) = respond_once(&mut stream, &mut daemon, |request| request.respond_state("done")).await;
    assert_eq!(item.unwrap().unwrap().state.as_str(), "done");
}

#[tokio::test(start_paused = true)]
async fn dropped_next_keeps_poll_and_pause() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    respond_once(&mut stream, &mut daemon, respond_running).await;
    for _ in 0..4 {
        let read = tokio::time::timeout(millis(300), next(&mut stream)).await;
        assert!(read.is_err());
    }
    // The pause ended during the fourth read, and the poll is in flight since then.
    let poll = daemon.next_get().await;
    assert_eq!(daemon.elapsed(), millis(1_200));
    poll.respond_state("queued");
    assert_eq!(next(&mut stream).await.unwrap().unwrap().state.as_str(), "queued");
}
