//! What happens to abandoned jobs in the background.

use foreman_client::wait::WebhookEndpoint;
use foreman_client::{DropPolicy, Notifier, WaitLayer};
use http::Method;
use tower::Layer as _;

use crate::support::{MockWait, ScriptedDaemon, cancelling_wait, request, seconds, spawn_wait};

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
