//! Waits that must not be late, or hang, because of the event stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::{BoxError, Client};
use futures_util::poll;
use http::{Method, Request, Response};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::{Instant, sleep};
use tower::Service;

use super::event_stream::submit;
use crate::support::{StreamingDaemon, event, millis, request, seconds};

/// A [`StreamingDaemon`] whose responses to submissions take a while.
#[derive(Clone)]
struct SlowSubmissions(StreamingDaemon, Duration);

impl Service<Request<Full<Bytes>>> for SlowSubmissions {
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let pause = if request.method() == Method::POST { self.1 } else { Duration::ZERO };
        let response = self.0.call(request);
        Box::pin(async move {
            sleep(pause).await;
            response.await
        })
    }
}

async fn slow_client(daemon: &StreamingDaemon, pause: Duration) -> Client<SlowSubmissions> {
    let http = SlowSubmissions(daemon.clone(), pause);
    Client::builder("http://daemon.test").polling().build_with(http).await.unwrap()
}

/// The same with a stream that is open.
async fn slow_connected(pause: Duration) -> (StreamingDaemon, Client<SlowSubmissions>) {
    let daemon = StreamingDaemon::new();
    let client = slow_client(&daemon, pause).await;
    let first = client.clone();
    tokio::spawn(async move { first.submit(request()).await });
    sleep(pause + seconds(1)).await;
    assert!(daemon.is_open());
    (daemon, client)
}

fn beat(daemon: &StreamingDaemon) {
    let daemon = daemon.clone();
    tokio::spawn(async move { daemon.idle(5_000).await });
}

#[tokio::test(start_paused = true)]
async fn event_that_was_kept_for_too_long_is_found_by_a_poll() {
    let (daemon, client) = slow_connected(millis(100)).await;
    daemon.send_before_response(event("2", "done"));
    daemon.set("2", "done");
    let mut wait = Box::pin(client.submit(request()));
    assert!(poll!(&mut wait).is_pending());
    daemon.idle(80).await;
    beat(&daemon);
    let start = Instant::now();
    wait.await.unwrap();
    assert!(start.elapsed() < seconds(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn more_early_events_than_are_kept_are_found_by_polls() {
    let (daemon, client) = slow_connected(seconds(5)).await;
    let mut waits = Vec::new();
    for _ in 0..4_200 {
        let client = client.clone();
        waits.push(tokio::spawn(async move { client.submit(request()).await }));
    }
    sleep(seconds(1)).await;
    daemon.event("2", "done");
    for job in 3..=4_201 {
        daemon.send(&event(&job.to_string(), "queued"));
    }
    beat(&daemon);
    let start = Instant::now();
    waits.swap_remove(0).await.unwrap().unwrap();
    // All of them are polled once, at 200 polls a second.
    assert!(start.elapsed() < seconds(30), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wait_that_is_not_subscribed_depends_on_no_stream() {
    let daemon = StreamingDaemon::new();
    daemon.respond_with(404);
    let client = slow_client(&daemon, millis(100)).await;
    let first = client.clone();
    let first = tokio::spawn(async move { first.submit(request()).await });
    // As soon as the stream may be asked for again, so that no poll of the first wait comes before the second wait.
    sleep(millis(600_001)).await;
    daemon.respond_with(200);
    let second = client.clone();
    tokio::spawn(async move { second.submit(request()).await });
    sleep(millis(200)).await;
    assert!(daemon.is_open());
    daemon.idle(60).await;
    daemon.event("1", "done");
    beat(&daemon);
    let start = Instant::now();
    first.await.unwrap().unwrap();
    assert!(start.elapsed() < seconds(20), "{:?}", start.elapsed());
}

#[test]
fn runtime_that_is_gone_blocks_no_wait() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let client = runtime.block_on(async { StreamingDaemon::new().client().await });
    drop(runtime);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _entered = handle.enter();
        // tokio panics where the wait sets a timer.
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut wait = Box::pin(client.submit(request()));
            wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        }));
        sender.send(polled.is_ok()).unwrap();
    });
    receiver.recv_timeout(seconds(60)).expect("the wait hangs");
}

/// How long the results of 20 jobs are late together, whose events come by no stream.
async fn late_by(hold_back: bool) -> Duration {
    let daemon = StreamingDaemon::new();
    let client = daemon.client().await;
    let mut late = Duration::ZERO;
    for job in 1..=20 {
        let waiting = submit(&client);
        sleep(seconds(1)).await;
        let job = job.to_string();
        daemon.set(&job, "done");
        if hold_back {
            daemon.greet_with(&format!("id: 0\n\n{}", event(&job, "done")));
        }
        let start = Instant::now();
        waiting.await.unwrap().unwrap();
        late += start.elapsed();
    }
    late
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_held_back_is_not_trusted_again() {
    // The first job is late by the time that the silence takes.
    let late = [late_by(false).await, late_by(true).await];
    assert!(late.iter().all(|late| *late < seconds(70)), "{late:?}");
}
