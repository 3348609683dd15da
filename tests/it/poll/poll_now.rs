//! `PollStream::poll_now`: a poll without a pause.

use tokio::time::timeout;

use super::{next, respond_once, respond_running, stream_of};
use crate::support::{exact_polls, millis, seconds};

#[tokio::test(start_paused = true)]
async fn poll_now_ends_pause() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    respond_once(&mut stream, &mut daemon, respond_running).await;
    respond_once(&mut stream, &mut daemon, respond_running).await;
    assert!(timeout(millis(500), next(&mut stream)).await.is_err());
    stream.as_mut().poll_now();
    stream.as_mut().poll_now();
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, millis(1_500));
    // The pause after that is a regular one.
    assert!(respond_once(&mut stream, &mut daemon, respond_running).await.1 >= seconds(3));
}

#[tokio::test(start_paused = true)]
async fn poll_now_between_reads_skips_pause() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    respond_once(&mut stream, &mut daemon, respond_running).await;
    stream.as_mut().poll_now();
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, seconds(0));
}

#[tokio::test(start_paused = true)]
async fn poll_now_during_poll_repeats_it() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    assert!(timeout(seconds(1), next(&mut stream)).await.is_err());
    let poll = daemon.next_get().await;
    stream.as_mut().poll_now();
    daemon.quiet_for(seconds(1)).await;
    // The state in this response may be older than the call of `poll_now`.
    poll.respond_state("running");
    assert_eq!(next(&mut stream).await.unwrap().unwrap().state.as_str(), "running");
    let (item, at) = respond_once(&mut stream, &mut daemon, |request| request.respond_state("done")).await;
    assert_eq!((item.unwrap().unwrap().state.as_str(), at), ("done", seconds(2)));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn poll_now_during_failing_poll_repeats_it() {
    let (mut stream, mut daemon) = stream_of(exact_polls().build().unwrap());
    assert!(timeout(seconds(1), next(&mut stream)).await.is_err());
    let poll = daemon.next_get().await;
    stream.as_mut().poll_now();
    poll.reset();
    assert!(next(&mut stream).await.unwrap().is_err());
    assert_eq!(respond_once(&mut stream, &mut daemon, respond_running).await.1, seconds(1));
}
