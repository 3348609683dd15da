//! Asking without a pause.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::{stream, turn};
use crate::support::{Asked, exact, seconds};

fn running(asked: Asked) {
    asked.tell("running");
}

#[tokio::test(start_paused = true)]
async fn during_a_pause_it_ends_the_pause() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    turn(&mut stream, &mut daemon, running).await;
    turn(&mut stream, &mut daemon, running).await;
    assert!(timeout(Duration::from_millis(500), stream.next()).await.is_err());
    stream.as_mut().poll_now();
    stream.as_mut().poll_now();
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, Duration::from_millis(1_500));
    // Once: the next pause is one again.
    assert!(turn(&mut stream, &mut daemon, running).await.1 >= seconds(3));
}

#[tokio::test(start_paused = true)]
async fn between_two_reads_it_leaves_out_the_pause() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    turn(&mut stream, &mut daemon, running).await;
    stream.as_mut().poll_now();
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, seconds(0));
}

#[tokio::test(start_paused = true)]
async fn during_a_poll_it_asks_again_right_behind_it() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    assert!(timeout(seconds(1), stream.next()).await.is_err());
    let asked = daemon.get().await;
    stream.as_mut().poll_now();
    daemon.quiet_for(seconds(1)).await;
    // What this says may be older than the reason to hurry.
    asked.tell("running");
    assert_eq!(stream.next().await.unwrap().unwrap().state.as_str(), "running");
    let (item, at) = turn(&mut stream, &mut daemon, |asked| asked.tell("done")).await;
    assert_eq!((item.unwrap().unwrap().state.as_str(), at), ("done", seconds(2)));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn during_a_poll_that_fails_it_asks_again_too() {
    let (mut stream, mut daemon) = stream(exact().build().unwrap());
    assert!(timeout(seconds(1), stream.next()).await.is_err());
    let asked = daemon.get().await;
    stream.as_mut().poll_now();
    asked.reset();
    assert!(stream.next().await.unwrap().is_err());
    assert_eq!(turn(&mut stream, &mut daemon, running).await.1, seconds(1));
}
