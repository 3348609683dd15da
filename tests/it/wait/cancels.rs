//! What happens to abandoned jobs in the background: they are found, cancelled, and tried again.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use foreman_client::wait::WebhookEndpoint;
use foreman_client::{Api, DropPolicy, Notifier, WaitLayer};
use http::Method;
use tokio::runtime::{Builder, Runtime};
use tokio_test::task;
use tower::{Layer as _, ServiceExt as _};

use crate::support::{
    Exchange, MockWait, ReceivedRequest, ScriptedDaemon, bounded_paused, call_wait, cancelling_wait, function_http,
    millis, request, seconds, spawn_wait,
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

fn assert_counts(wait: &MockWait, cancelled: u64, failed: u64) {
    let stats = wait.stats();
    assert_eq!((stats.cancelled, stats.cancels_failed), (cancelled, failed), "{stats:?}");
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
        let (mut times, mut cancelled) = (Vec::new(), 0);
        while cancelled < 100 {
            let cancel = daemon.next_cancel().await;
            times.push(cancel.at - start);
            cancel.confirm_cancel();
            cancelled += 1;
        }
        daemon.settle().await;
        assert_counts(&wait, 100, 0);
        assert!(times.iter().all(|at| (seconds(30)..=seconds(33)).contains(at)), "{times:?}");
        times.dedup();
        assert!(times.len() >= 8, "the workers do not come back together: {times:?}");
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
    assert_counts(&wait, 1, 0);
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
            assert_counts(&wait, 0, 0);
            fail(cancel);
        }
        assert!(daemon.elapsed() - start <= seconds(12));
        daemon.settle().await;
        assert_counts(&wait, 0, 1);
        daemon.quiet_for(seconds(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused_resend_of_abandoned_submission_is_tried_again() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).assume_idempotency().on_drop(DropPolicy::Cancel, api.clone());
    let wait = layer.build().unwrap().layer(api);
    let waiting = spawn_wait(&wait, &request());
    let post = daemon.next_post().await;
    waiting.abort();
    let refused = daemon.next_post().await;
    let at = refused.at;
    refused.refuse(429, 30);
    // New jobs obey it too.
    daemon.settle().await;
    let error = spawn_wait(&wait, &request().with_deadline(seconds(10))).await.unwrap().unwrap_err();
    assert!(error.is_overloaded() && error.is_safe_to_resubmit(), "{error:?}");
    let again = daemon.next_post().await;
    assert!((seconds(30)..=seconds(33)).contains(&(again.at - at)), "{:?}", again.at);
    assert_eq!(again.headers, post.headers);
    again.reset();
    let again = daemon.next_post().await;
    assert_eq!(again.headers, post.headers);
    again.accept_with_key("7");
    let cancel = daemon.next_cancel().await;
    assert_eq!(cancel.job(), "7");
    cancel.confirm_cancel();
    daemon.settle().await;
    assert_eq!(wait.stats().cancelled, 1);
}

/// The response is lost before the wait is dropped. The last holder is the wait, or a clone of the request.
#[tokio::test(start_paused = true)]
async fn submission_with_lost_response_is_cancelled_at_a_daemon_with_keys() {
    for (keys, webhooks, held) in
        [(true, true, false), (true, false, false), (true, false, true), (true, true, true), (false, false, true)]
    {
        let (api, mut daemon) = ScriptedDaemon::new();
        let mut layer = WaitLayer::builder(api.clone()).on_drop(DropPolicy::Cancel, api.clone());
        if keys {
            layer = layer.assume_idempotency();
        }
        if webhooks {
            layer = layer.webhooks(WebhookEndpoint::new(Notifier::new(), "http://here.test/events/").unwrap());
        }
        let wait = layer.build().unwrap().layer(api);
        let request = request();
        let waiting = spawn_wait(&wait, &request);
        let request = held.then_some(request);
        let post = daemon.next_post().await;
        let (headers, body) = (post.headers.clone(), post.body.clone());
        post.reset();
        daemon.settle().await;
        // Without webhooks it has ended by itself.
        assert_ne!(waiting.is_finished(), webhooks);
        waiting.abort();
        if let Some(request) = request {
            daemon.quiet_for(seconds(1)).await;
            assert_counts(&wait, 0, 0);
            drop(request);
        }
        if keys {
            let again = daemon.next_post().await;
            assert_eq!((&again.headers, &again.body), (&headers, &body));
            again.accept_with_key("7");
            let cancel = daemon.next().await;
            assert_eq!((&cancel.method, cancel.uri.path()), (&Method::DELETE, "/jobs/7"));
            cancel.confirm_cancel();
        }
        daemon.quiet_for(seconds(100)).await;
        assert_counts(&wait, u64::from(keys), u64::from(!keys));
    }
}

/// The resend is lost too, each time. It ends.
#[tokio::test(start_paused = true)]
async fn submission_that_is_not_found_counts_as_failed() {
    let (api, mut daemon) = ScriptedDaemon::new();
    let layer = WaitLayer::builder(api.clone()).assume_idempotency().on_drop(DropPolicy::Cancel, api.clone());
    let wait = layer.build().unwrap().layer(api);
    let waiting = spawn_wait(&wait, &request());
    daemon.next_post().await.reset();
    assert!(waiting.await.unwrap().unwrap_err().is_maybe_submitted());
    for _ in 0..6 {
        assert_counts(&wait, 0, 0);
        daemon.next_post().await.reset();
    }
    daemon.quiet_for(seconds(600)).await;
    assert_counts(&wait, 0, 1);
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
    assert_counts(&wait, 1, 0);
}
