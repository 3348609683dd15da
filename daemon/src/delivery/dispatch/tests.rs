use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use tower::service_fn;

use super::*;
use crate::store::{NewJob, StoreOptions};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn submit(jobs: &Jobs, url: &str) {
    let new = NewJob { webhook: Some(url.parse().unwrap()), ..NewJob::of_test(r#"{"model":"m"}"#) };
    jobs.submit(new).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn events_of_failing_receiver_wait_for_probes_and_keep_their_retries() {
    let destinations = Arc::new(Destinations::new(1));
    let options = StoreOptions { destinations: Arc::clone(&destinations), ..StoreOptions::of_test(100) };
    let jobs = Arc::new(Jobs::in_memory(&options));
    for _ in 0..9 {
        submit(&jobs, "http://broken/").await;
    }
    let start = Instant::now();
    let attempts: Arc<Mutex<Vec<(u64, u32)>>> = Arc::default();
    let seen = Arc::clone(&attempts);
    let sender = service_fn(move |webhook: Webhook| {
        let mut seen = seen.lock().unwrap();
        seen.push((start.elapsed().as_secs(), webhook.delivery.attempt));
        let status = if seen.len() <= 7 { StatusCode::BAD_GATEWAY } else { StatusCode::NO_CONTENT };
        async move { Ok::<_, Infallible>(DeliveryOutcome::Response { status, retry_after: None }) }
    });
    let schedule = RetrySchedule::new(vec![DAY]);
    let permits = Arc::new(Semaphore::new(4));
    let closing = CancellationToken::new();
    let dispatcher =
        Dispatcher::new(Arc::clone(&jobs), Signer::new(None), schedule, permits, Arc::clone(&destinations), sender);
    let running = tokio::spawn(dispatcher.run(closing.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Five attempts until the breaker opens, probes after 1, 2 and 4 s, and the last event once one has succeeded.
    let expected = [0, 0, 0, 0, 0, 1, 3, 7, 7].map(|seconds| (seconds, 1));
    assert_eq!(*attempts.lock().unwrap(), expected);
    tokio::time::sleep(2 * DAY).await;
    assert_eq!(jobs.stats().webhooks_delivered, 9);
    closing.cancel();
    running.await.unwrap();
}
