//! The two policies for `tower::retry`: which errors they retry, when, and how often.

use std::pin::Pin;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::{Accepted, GetJob, Polled};
use foreman_client::retry::{Reattach, RetrySubmission, SubmissionPause};
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{Api, BoxError, Error, JobResult, JobState, JobStatus, Notifier, SubmitRequest, WaitLayer};
use futures_util::FutureExt as _;
use tokio::time::{Instant, Sleep};
use tower::retry::Policy;
use tower::retry::budget::Budget;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{Exchange, function_http, job_id, millis, request, seconds};

/// The error for a response with that status.
fn status(status: u16, retry_after: Option<u64>) -> Error {
    let http = function_http(move |_| {
        let seconds = retry_after.map(|seconds| seconds.to_string());
        let headers: Vec<_> = seconds.iter().map(|seconds| ("retry-after", seconds.as_str())).collect();
        Exchange::response(status, &headers, Bytes::new())
    });
    let api = Api::new("http://daemon.test".parse().unwrap(), http);
    api.oneshot(request()).now_or_never().unwrap().unwrap_err()
}

fn io(kind: std::io::ErrorKind) -> Error {
    Error::from_boxed(std::io::Error::from(kind).into())
}

fn boxed(error: impl Into<BoxError>) -> Error {
    Error::from_boxed(error.into())
}

/// Every kind of error: its name, whether the submission is unsent, whether the error is transient.
fn errors() -> Vec<(&'static str, Error, bool, bool)> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
    vec![
        ("refused", io(ConnectionRefused), true, true),
        ("reset", io(ConnectionReset), false, true),
        ("broken pipe", io(BrokenPipe), false, true),
        ("elapsed", boxed(tower::timeout::error::Elapsed::new()), false, true),
        ("shed", boxed(tower::load_shed::error::Overloaded::new()), true, true),
        ("unknown", boxed("a layer of the caller's"), false, false),
        ("unusable 202", status(202, None), false, true),
        ("302", status(302, None), true, false),
        ("400", status(400, None), true, false),
        ("401", status(401, None), true, false),
        ("404", status(404, None), true, false),
        ("408", status(408, None), false, true),
        ("409", status(409, None), false, true),
        ("422", status(422, None), true, false),
        ("425", status(425, None), true, true),
        ("429", status(429, None), true, true),
        ("500", status(500, None), false, true),
        ("502", status(502, None), false, true),
        ("503", status(503, None), false, true),
        ("503 with Retry-After", status(503, Some(1)), true, true),
        ("504", status(504, None), false, true),
    ]
}

/// The pause before the retry of a failed submission.
fn submission_retry(policy: &mut RetrySubmission, request: &SubmitRequest, error: Error) -> Option<SubmissionPause> {
    policy.retry(&mut request.clone(), &mut Err::<Accepted, _>(error))
}

/// The pause before a wait is called again.
fn job_retry(policy: &mut Reattach, result: Result<JobResult, Error>) -> Option<Sleep> {
    policy.retry(&mut request(), &mut { result })
}

fn finished(state: JobState) -> JobResult {
    JobResult::new(JobStatus::new(job_id("7"), state)).unwrap()
}

/// The length of a pause.
fn length(ends: Instant) -> Duration {
    ends - Instant::now()
}

type Submitted = Pin<Box<dyn Future<Output = Result<Accepted, Error>> + Send>>;
type NextAccepted = Arc<dyn Fn() -> Option<Accepted> + Send + Sync>;
type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;

/// A wait over a submit service that returns `next`, or is pending if it is `None`. Jobs are done at the first poll.
fn jobs(next: NextAccepted, webhooks: Option<WebhookEndpoint>) -> Jobs {
    let submit = service_fn(move |_: SubmitRequest| -> Submitted {
        match next() {
            Some(accepted) => Box::pin(std::future::ready(Ok(accepted))),
            None => Box::pin(std::future::pending()),
        }
    });
    let polls = service_fn(|get: GetJob| async move {
        Ok::<_, Error>(Polled::new(JobStatus::new(get.job_id().clone(), JobState::Done)))
    });
    let waits = WaitLayer::builder(polls);
    let waits = if let Some(endpoint) = webhooks { waits.webhooks(endpoint) } else { waits };
    BoxCloneSyncService::new(ServiceBuilder::new().layer(waits.build().unwrap()).service(submit))
}

/// A wait, and whether the daemon accepts the next submission with an idempotency key. `None` is no response.
fn wait_and_next(webhooks: Option<WebhookEndpoint>) -> (Jobs, Arc<Mutex<Option<bool>>>) {
    let next = Arc::new(Mutex::new(None));
    let accepted = {
        let next = Arc::clone(&next);
        move || {
            let keys = next.lock().unwrap().take()?;
            let accepted = Accepted::new(job_id("1"));
            Some(if keys { accepted.with_idempotency() } else { accepted })
        }
    };
    (jobs(Arc::new(accepted), webhooks), next)
}

/// A request that is being sent, after the wait has learned whether the daemon supports keys.
async fn in_flight(jobs: &Jobs, next: &Mutex<Option<bool>>, keys: bool) -> (SubmitRequest, impl Sized + use<>) {
    *next.lock().unwrap() = Some(keys);
    jobs.clone().oneshot(request()).await.unwrap();
    let request = request();
    let mut wait = tokio_test::task::spawn(jobs.clone().oneshot(request.clone()));
    assert!(wait.poll().is_pending());
    (request, wait)
}

#[tokio::test(start_paused = true)]
async fn lost_submission_is_resent_only_with_idempotency() {
    let (jobs, next) = wait_and_next(None);
    for keys in [false, true, false] {
        let (request, _wait) = in_flight(&jobs, &next, keys).await;
        for (name, error, unsent, transient) in errors() {
            let resent = submission_retry(&mut RetrySubmission::default(), &request, error).is_some();
            assert_eq!(resent, transient && (unsent || keys), "{name}, keys: {keys}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_submission_without_wait_is_not_resent() {
    for (name, error, unsent, transient) in errors() {
        let resent = submission_retry(&mut RetrySubmission::default(), &request(), error).is_some();
        assert_eq!(resent, transient && unsent, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_submission_with_webhooks_is_left_to_wait() {
    let endpoint = WebhookEndpoint::new(Notifier::new(), "http://127.0.0.1:1").unwrap();
    let (jobs, next) = wait_and_next(Some(endpoint));
    let (request, _wait) = in_flight(&jobs, &next, true).await;
    for (name, error, unsent, transient) in errors() {
        let resent = submission_retry(&mut RetrySubmission::default(), &request, error).is_some();
        assert_eq!(resent, unsent && transient, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn backoff_doubles_to_maximum() {
    let mut inside = RetrySubmission::builder()
        .backoff(millis(100), millis(500))
        .jitter(0.0)
        .retries(5)
        .no_budget()
        .build()
        .unwrap();
    let mut outside = Reattach::builder().backoff(millis(100), millis(500)).jitter(0.0).retries(5).build().unwrap();
    for expected in [100, 200, 400, 500, 500] {
        let refused = || status(429, None);
        assert_eq!(length(submission_retry(&mut inside, &request(), refused()).unwrap().deadline()), millis(expected));
        assert_eq!(length(job_retry(&mut outside, Err(refused())).unwrap().deadline()), millis(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_capped_at_a_minute() {
    let mut inside = RetrySubmission::builder().jitter(0.0).build().unwrap();
    let mut outside = Reattach::builder().jitter(0.0).build().unwrap();
    for (retry_after, pause) in [(7, 7), (60, 60), (u64::MAX, 60)] {
        let busy = || status(503, Some(retry_after));
        assert_eq!(length(submission_retry(&mut inside, &request(), busy()).unwrap().deadline()), seconds(pause));
        assert_eq!(length(job_retry(&mut outside, Err(busy())).unwrap().deadline()), seconds(pause));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_zero_waits_for_first_pause() {
    let (mut inside, mut outside) = (RetrySubmission::default(), Reattach::default());
    let busy = || status(503, Some(0));
    assert!(length(submission_retry(&mut inside, &request(), busy()).unwrap().deadline()) >= millis(100));
    assert!(length(job_retry(&mut outside, Err(busy())).unwrap().deadline()) >= millis(250));
}

#[tokio::test(start_paused = true)]
async fn pauses_of_requests_differ() {
    let (inside, outside) = (RetrySubmission::default(), Reattach::default());
    for retry_after in [None, Some(7)] {
        let mut pauses = [std::collections::HashSet::new(), std::collections::HashSet::new()];
        for _ in 0..20 {
            let busy = || status(429, retry_after);
            pauses[0].insert(length(submission_retry(&mut inside.clone(), &request(), busy()).unwrap().deadline()));
            pauses[1].insert(length(job_retry(&mut outside.clone(), Err(busy())).unwrap().deadline()));
        }
        // Equal ones are possible, and twenty equal ones are not.
        assert!(pauses.iter().all(|pauses| pauses.len() > 10), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_per_request() {
    let inside = RetrySubmission::builder().retries(3).build().unwrap();
    let outside = Reattach::builder().retries(3).build().unwrap();
    for _ in 0..2 {
        let (mut inside, mut outside) = (inside.clone(), outside.clone());
        for retry in 0..5 {
            assert_eq!(submission_retry(&mut inside, &request(), status(429, None)).is_some(), retry < 3);
            assert_eq!(job_retry(&mut outside, Err(status(429, None))).is_some(), retry < 3);
        }
    }
}

#[derive(Debug)]
struct CountedBudget(AtomicIsize);

impl Budget for CountedBudget {
    fn deposit(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn withdraw(&self) -> bool {
        self.0.fetch_sub(1, Relaxed) > 0
    }
}

#[tokio::test(start_paused = true)]
async fn retries_withdraw_from_budget() {
    let budget = Arc::new(CountedBudget(AtomicIsize::new(1)));
    let policy = RetrySubmission::builder().budget(Arc::clone(&budget) as _).build().unwrap();
    let refused = || submission_retry(&mut policy.clone(), &request(), status(429, None)).is_some();
    assert!(refused());
    assert!(!refused());
    budget.0.store(0, Relaxed);
    assert!(policy.clone().retry(&mut request(), &mut Ok::<_, Error>(Accepted::new(job_id("1")))).is_none());
    assert_eq!(budget.0.load(Relaxed), 1);
    // An error that is not retried withdraws nothing.
    assert!(submission_retry(&mut policy.clone(), &request(), status(422, None)).is_none());
    assert!(refused());
}

#[tokio::test(start_paused = true)]
async fn reattach_retries_transient_errors() {
    for (name, error, _, transient) in errors() {
        assert_eq!(job_retry(&mut Reattach::default(), Err(error)).is_some(), transient, "{name}");
    }
    for state in [JobState::Done, JobState::Failed] {
        assert!(job_retry(&mut Reattach::default(), Ok(finished(state))).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn reattach_does_not_retry_deadline() {
    let submit = service_fn(|_: SubmitRequest| std::future::pending::<Result<Accepted, Error>>());
    let polls = service_fn(|_: GetJob| std::future::pending::<Result<Polled, Error>>());
    let waits = WaitLayer::builder(polls).deadline(millis(5)).build().unwrap();
    let error = ServiceBuilder::new().layer(waits).service(submit).oneshot(request()).await.unwrap_err();
    assert!(error.is_deadline());
    assert!(job_retry(&mut Reattach::default(), Err(error)).is_none());
}

#[tokio::test(start_paused = true)]
async fn renewals_are_filtered_and_not_retries() {
    let policy = Reattach::builder().retries(1).renew_failed(2, |result| result.error().is_none()).build().unwrap();
    let mut used = policy.clone();
    let mut request = request();
    let mut keys = vec![request.submission().idempotency_key()];
    for renewed in [true, true, false] {
        let retry = used.retry(&mut request, &mut Ok::<_, Error>(finished(JobState::Failed)));
        assert_eq!(retry.is_some(), renewed);
        keys.push(request.submission().idempotency_key());
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2] == keys[3]);
    assert!(job_retry(&mut used, Err(status(429, None))).is_some());

    let mut cancelled = JobStatus::new(job_id("7"), JobState::Failed);
    cancelled.error = Some("cancelled".into());
    assert!(job_retry(&mut policy.clone(), Ok(JobResult::new(cancelled).unwrap())).is_none());
    assert!(job_retry(&mut policy.clone(), Ok(finished(JobState::Done))).is_none());
}

#[test]
fn invalid_settings_are_named() {
    let (inside, outside) = (RetrySubmission::builder, Reattach::builder);
    for (name, error) in [
        ("retries", inside().retries(0).build().err()),
        ("backoff", inside().backoff(millis(0), millis(0)).build().err()),
        ("backoff", inside().backoff(millis(2), millis(1)).build().err()),
        ("backoff", inside().jitter(f64::NAN).build().err()),
        ("backoff", inside().jitter(-1.0).build().err()),
        ("retries", outside().retries(0).build().err()),
        ("backoff", outside().backoff(millis(0), millis(0)).build().err()),
        ("backoff", outside().backoff(millis(2), millis(1)).build().err()),
        ("backoff", outside().jitter(f64::INFINITY).build().err()),
        ("renew_failed", outside().renew_failed(0, |_| true).build().err()),
    ] {
        let error = error.unwrap();
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {name}: ")), "{error}");
    }
    assert!(outside().retries(0).renew_failed(1, |_| true).build().is_ok());
}
