//! What happens to abandoned jobs in the background: they are found, cancelled, and tried again.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use foreman_client::api::Call;
use foreman_client::{Api, DropPolicy, WaitLayer};
use http::Method;
use tokio::runtime::{Builder, Runtime};
use tokio_test::task;
use tower::{Layer as _, Service, ServiceExt as _};

use crate::support::{
    Exchange, MockApi, MockWait, ReceivedRequest, ScriptedDaemon, assert_cancels, bounded_paused, call_wait,
    cancelling_wait, function_http, millis, request, seconds, spawn_wait,
};

/// Submits that many jobs and drops their waits.
async fn abandon(wait: &MockWait, daemon: &mut ScriptedDaemon, jobs: usize) {
    let mut waits = Vec::new();
    for job in 0..jobs {
        let waiting = spawn_wait(wait, &request());
        daemon.skip_to_post().await.accept(&job.to_string());
        daemon.settle().await;
        waits.push(waiting);
    }
    waits.iter().for_each(tokio::task::JoinHandle::abort);
    daemon.settle().await;
}

/// The cancels that have come by now.
async fn cancels_now(daemon: &mut ScriptedDaemon) -> Vec<ReceivedRequest> {
    let mut cancels = Vec::new();
    daemon.settle().await;
    while let Some(request) = daemon.next_now().await {
        if request.method == Method::DELETE {
            cancels.push(request);
        }
    }
    cancels
}

/// 20,000 cancels at once are as many connections.
#[tokio::test(start_paused = true)]
async fn cancels_are_bounded() {
    let (wait, mut daemon) = cancelling_wait();
    let mut waits = Vec::new();
    for job in 0..100 {
        let waiting = spawn_wait(&wait, &request());
        daemon.skip_to_post().await.accept(&job.to_string());
        daemon.settle().await;
        waits.push(waiting);
    }
    waits.iter().for_each(tokio::task::JoinHandle::abort);
    daemon.settle().await;
    let (mut held, mut cancelled) = (Vec::new(), 0);
    while cancelled < 100 {
        daemon.settle().await;
        while let Some(request) = daemon.next_now().await {
            if request.method == Method::DELETE {
                held.push(request);
            }
        }
        assert!(!held.is_empty() && held.len() <= 16, "{}", held.len());
        cancelled += held.len();
        for request in held.drain(..) {
            request.confirm_cancel();
        }
    }
    daemon.settle().await;
    assert_eq!((wait.stats().cancelled, wait.stats().cancels_failed), (100, 0));
}

/// The id of the job is not known when the wait is dropped.
#[tokio::test(start_paused = true)]
async fn submission_in_flight_is_cancelled_at_a_daemon_with_keys() {
    for keys in [true, false] {
        let (wait, mut daemon) = cancelling_wait();
        let first = spawn_wait(&wait, &request());
        let post = daemon.next_post().await;
        if keys {
            post.accept_with_key("1");
        } else {
            post.accept("1");
        }
        daemon.next_get().await.respond_state("done");
        first.await.unwrap().unwrap();

        let waiting = spawn_wait(&wait, &request());
        let post = daemon.next_post().await;
        let key = post.header("idempotency-key").unwrap().to_owned();
        waiting.abort();
        if keys {
            let again = daemon.next_post().await;
            assert_eq!((again.header("idempotency-key"), &again.body), (Some(&*key), &post.body));
            again.accept_with_key("7");
            let cancel = daemon.next().await;
            assert_eq!((&cancel.method, cancel.uri.path()), (&Method::DELETE, "/jobs/7"));
            cancel.confirm_cancel();
        }
        daemon.settle().await;
        daemon.quiet_for(seconds(100)).await;
        let stats = wait.stats();
        assert_eq!((stats.cancelled, stats.cancels_failed), if keys { (1, 0) } else { (0, 1) });
    }
}

#[tokio::test(start_paused = true)]
async fn refused_cancels_share_a_pause_and_are_tried_again() {
    for status in [429, 503] {
        let (wait, mut daemon) = cancelling_wait();
        abandon(&wait, &mut daemon, 100).await;
        let (start, cancels) = (daemon.elapsed(), cancels_now(&mut daemon).await);
        assert_eq!(cancels.len(), 16);
        cancels.into_iter().for_each(|cancel| cancel.refuse(status, 30));
        daemon.quiet_for(millis(29_900)).await;
        let (mut times, mut held) = (Vec::new(), Vec::new());
        for _ in 0..16 {
            let cancel = daemon.next_cancel().await;
            times.push(cancel.at - start);
            held.push(cancel);
        }
        assert!(times.iter().all(|at| (seconds(30)..=seconds(33)).contains(at)), "{times:?}");
        times.dedup();
        assert!(times.len() >= 8, "the workers do not come back together: {times:?}");
        held.into_iter().for_each(ReceivedRequest::confirm_cancel);
        for _ in 16..100 {
            daemon.next_cancel().await.confirm_cancel();
        }
        daemon.settle().await;
        assert_cancels(&wait, 100, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn longest_pause_of_cancels_is_a_minute() {
    let (wait, mut daemon) = cancelling_wait();
    abandon(&wait, &mut daemon, 1).await;
    daemon.next_cancel().await.refuse(429, 86_400);
    let refused = daemon.elapsed();
    let cancel = daemon.next_cancel().await;
    let pause = cancel.at - refused;
    assert!((seconds(60)..=seconds(66)).contains(&pause), "{pause:?}");
    cancel.confirm_cancel();
    daemon.settle().await;
    assert_cancels(&wait, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn failing_cancel_is_tried_six_times_with_backoff() {
    let failures: [fn(ReceivedRequest); 4] = [
        |cancel| cancel.respond(500, ""),
        |cancel| cancel.respond(429, ""),
        |cancel| cancel.refuse(503, 0),
        ReceivedRequest::reset,
    ];
    for fail in failures {
        let (wait, mut daemon) = cancelling_wait();
        abandon(&wait, &mut daemon, 1).await;
        let start = daemon.elapsed();
        for least in [0, 250, 500, 1_000, 2_000, 4_000] {
            let since = daemon.elapsed();
            let cancel = daemon.next_cancel().await;
            let pause = cancel.at - since;
            assert!((millis(least)..=millis(least * 3 / 2)).contains(&pause), "{pause:?}, at least {least} ms");
            assert_cancels(&wait, 0, 0);
            fail(cancel);
        }
        assert!(daemon.elapsed() - start <= seconds(12));
        daemon.settle().await;
        assert_cancels(&wait, 0, 1);
        daemon.quiet_for(seconds(600)).await;
    }
}

fn idle_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A runtime that nobody drives has the first 20 cancels: unstarted, or with a request in flight.
#[test]
fn idle_runtime_does_not_block_the_cancels_of_others() {
    for in_flight in [false, true] {
        let (submitted, held) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(if in_flight { 16 } else { 0 })));
        let cancelled = Arc::new(Mutex::new(Vec::new()));
        let (submitted, cancels, hold) = (Arc::new(submitted), Arc::clone(&cancelled), Arc::clone(&held));
        let http = function_http(move |request| {
            let job = request.uri().path().rsplit('/').next().unwrap().to_owned();
            match *request.method() {
                Method::POST => {
                    let job = submitted.fetch_add(1, SeqCst);
                    Exchange::response(202, &[], format!(r#"{{"job_id":"{job}"}}"#))
                }
                Method::DELETE if hold.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() => {
                    Exchange::NoResponse
                }
                Method::DELETE => {
                    cancels.lock().unwrap().push(job.parse::<usize>().unwrap());
                    Exchange::response(202, &[], format!(r#"{{"job_id":"{job}","state":"failed"}}"#))
                }
                _ => Exchange::response(200, &[], format!(r#"{{"job_id":"{job}","state":"running"}}"#)),
            }
        });
        let api = Api::new("http://daemon.test".parse().unwrap(), http);
        let layer = WaitLayer::builder(api.clone()).on_drop(DropPolicy::Cancel, api.clone());
        let wait = layer.build().unwrap().layer(api);
        let abandon = async |jobs: usize| {
            let mut waits: Vec<_> = (0..jobs).map(|_| Box::pin(wait.clone().oneshot(request()))).collect();
            for waiting in &mut waits {
                poll_fn(|cx| {
                    assert!(waiting.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            drop(waits);
        };
        let (idle, driven) = (idle_runtime(), idle_runtime());
        idle.block_on(async {
            abandon(20).await;
            while held.load(SeqCst) > 0 {
                tokio::task::yield_now().await;
            }
        });
        driven.block_on(async {
            abandon(1).await;
            tokio::time::sleep(seconds(10)).await;
        });
        let mut cancelled: Vec<_> = cancelled.lock().unwrap().drain(..).collect();
        cancelled.sort_unstable();
        // Those that are in flight at the idle runtime are not sent twice.
        let first = if in_flight { 16 } else { 0 };
        assert_eq!(cancelled, (first..21).collect::<Vec<_>>());
        let mut left = driven.block_on(bounded_paused(wait.shutdown(seconds(0))));
        left.sort_unstable_by_key(|job| job.as_str().parse::<usize>().unwrap());
        assert_eq!(left.len(), first, "{left:?}");
    }
}

/// Nobody drops anything after the runtime became idle.
#[test]
fn shutdown_cancels_what_an_idle_runtime_left() {
    let idle = idle_runtime();
    let (wait, mut daemon) = idle.block_on(async {
        let (wait, mut daemon) = cancelling_wait();
        let mut waiting = task::spawn(call_wait(&wait, request()).await);
        assert!(waiting.poll().is_pending());
        daemon.next_post().await.accept("7");
        assert!(waiting.poll().is_pending());
        // The last thing that happens here.
        drop(waiting);
        (wait, daemon)
    });
    idle_runtime().block_on(async {
        let shutdown = tokio::spawn({
            let wait = wait.clone();
            bounded_paused(async move { wait.shutdown(seconds(0)).await })
        });
        daemon.next_cancel().await.confirm_cancel();
        assert_eq!(shutdown.await.unwrap(), []);
    });
    assert_cancels(&wait, 1, 0);
}

/// 16 are as many as there are workers.
#[tokio::test(start_paused = true)]
async fn panics_of_the_service_lose_no_other_cancel() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let panics = Arc::new(AtomicUsize::new(16));
    let layer = WaitLayer::builder(api.clone()).on_drop(DropPolicy::Cancel, Panicking { api: api.clone(), panics });
    let wait = layer.build().unwrap().layer(api);
    abandon(&wait, &mut daemon, 40).await;
    for _ in 0..24 {
        daemon.next_cancel().await.confirm_cancel();
    }
    daemon.settle().await;
    assert_cancels(&wait, 24, 16);
}

/// The first cancels panic.
#[derive(Clone)]
struct Panicking {
    api: MockApi,
    panics: Arc<AtomicUsize>,
}

impl<C: Call> Service<C> for Panicking
where
    MockApi: Service<C>,
{
    type Response = <MockApi as Service<C>>::Response;
    type Error = <MockApi as Service<C>>::Error;
    type Future = <MockApi as Service<C>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.api.poll_ready(cx)
    }

    fn call(&mut self, call: C) -> Self::Future {
        let panics = self.panics.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        assert!(!panics, "a panic of the test");
        self.api.call(call)
    }
}

/// tokio's timers panic there.
#[test]
fn runtime_without_time_counts_the_cancel_as_failed() {
    let idle = idle_runtime();
    let (wait, waiting) = idle.block_on(async {
        let (wait, mut daemon) = cancelling_wait();
        let mut waiting = task::spawn(call_wait(&wait, request()).await);
        assert!(waiting.poll().is_pending());
        daemon.next_post().await.accept("7");
        assert!(waiting.poll().is_pending());
        (wait, waiting)
    });
    Builder::new_current_thread().build().unwrap().block_on(async {
        drop(waiting);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
    assert_cancels(&wait, 0, 1);
    // It does not wait for a cancel that will not be made.
    let left = idle.block_on(bounded_paused(wait.shutdown(seconds(0))));
    assert_eq!(left, []);
}
