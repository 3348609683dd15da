//! The two policies for `tower::retry`: what they repeat, when, and how often.

use std::pin::Pin;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::{Accepted, Call, GetJob, Polled};
use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::wait::WebhookEndpoint;
use foreman_client::{BoxError, Error, JobId, JobResult, JobState, JobStatus, Notifier, SubmitRequest, WaitLayer};
use http::Response;
use tokio::time::{Instant, Sleep};
use tower::retry::Policy;
use tower::retry::budget::Budget;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use super::rig::request;

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(crate) fn id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

/// The error for an answer with that status.
fn status(status: u16, retry_after: Option<u64>) -> Error {
    let mut answer = Response::builder().status(status);
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    request().response(answer.body(Bytes::new()).unwrap()).unwrap_err()
}

fn io(kind: std::io::ErrorKind) -> Error {
    Error::from_boxed(std::io::Error::from(kind).into())
}

fn boxed(error: impl Into<BoxError>) -> Error {
    Error::from_boxed(error.into())
}

/// Every kind of error: its name, whether it surely did not arrive, whether it may pass.
fn errors() -> Vec<(&'static str, Error, bool, bool)> {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
    vec![
        ("refused", io(ConnectionRefused), true, true),
        ("reset", io(ConnectionReset), false, true),
        ("broken pipe", io(BrokenPipe), false, true),
        ("elapsed", boxed(tower::timeout::error::Elapsed::new()), false, true),
        ("shed", boxed(tower::load_shed::error::Overloaded::new()), true, true),
        ("unknown", boxed("a layer of the caller's"), false, false),
        ("bad answer", status(202, None), false, true),
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

/// What the policy says of a failed submission.
fn submission(policy: &mut RetrySubmission, request: &SubmitRequest, error: Error) -> Option<Sleep> {
    policy.retry(&mut request.clone(), &mut Err::<Accepted, _>(error))
}

fn job(policy: &mut Reattach, result: Result<JobResult, Error>) -> Option<Sleep> {
    policy.retry(&mut request(), &mut { result })
}

fn ended(state: JobState) -> JobResult {
    JobResult::new(JobStatus::new(id("7"), state)).unwrap()
}

/// How long a pause is.
fn pause(sleep: Option<Sleep>) -> Duration {
    sleep.unwrap().deadline() - Instant::now()
}

type Submitted = Pin<Box<dyn Future<Output = Result<Accepted, Error>> + Send>>;
type Answer = Arc<dyn Fn() -> Option<Accepted> + Send + Sync>;
type Jobs = BoxCloneSyncService<SubmitRequest, JobResult, Error>;

/// A wait whose daemon accepts as `answer` says, `None` being never, and whose jobs are done at the first poll.
fn jobs(answer: Answer, webhooks: Option<WebhookEndpoint>) -> Jobs {
    let submit = service_fn(move |_: SubmitRequest| -> Submitted {
        match answer() {
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

/// A service and its daemon, whose next answer is `Some(supports idempotency keys)`.
fn daemon(webhooks: Option<WebhookEndpoint>) -> (Jobs, Arc<Mutex<Option<bool>>>) {
    let next = Arc::new(Mutex::new(None));
    let answer = {
        let next = Arc::clone(&next);
        move || {
            let keys = next.lock().unwrap().take()?;
            let accepted = Accepted::new(id("1"));
            Some(if keys { accepted.with_idempotency() } else { accepted })
        }
    };
    (jobs(Arc::new(answer), webhooks), next)
}

/// A request that a wait is sending, after the daemon has accepted one and shown whether it supports keys.
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
    let (jobs, next) = daemon(None);
    for keys in [false, true, false] {
        let (request, _wait) = in_flight(&jobs, &next, keys).await;
        for (name, error, unsent, transient) in errors() {
            let resent = submission(&mut RetrySubmission::default(), &request, error).is_some();
            assert_eq!(resent, transient && (unsent || keys), "{name}, keys: {keys}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_submission_without_wait_is_not_resent() {
    for (name, error, unsent, transient) in errors() {
        let resent = submission(&mut RetrySubmission::default(), &request(), error).is_some();
        assert_eq!(resent, transient && unsent, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_submission_with_webhooks_is_left_to_wait() {
    let endpoint = WebhookEndpoint::new(Notifier::new(), "http://127.0.0.1:1").unwrap();
    let (jobs, next) = daemon(Some(endpoint));
    let (request, _wait) = in_flight(&jobs, &next, true).await;
    for (name, error, unsent, transient) in errors() {
        let resent = submission(&mut RetrySubmission::default(), &request, error).is_some();
        assert_eq!(resent, unsent && transient, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_the_longest() {
    let mut inside =
        RetrySubmission::builder().backoff(MS(100), MS(500)).jitter(0.0).retries(5).no_budget().build().unwrap();
    let mut outside = Reattach::builder().backoff(MS(100), MS(500)).jitter(0.0).retries(5).build().unwrap();
    for expected in [100, 200, 400, 500, 500] {
        let refused = || status(429, None);
        assert_eq!(pause(submission(&mut inside, &request(), refused())), MS(expected));
        assert_eq!(pause(job(&mut outside, Err(refused()))), MS(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_a_minute() {
    let (mut inside, mut outside) = (RetrySubmission::default(), Reattach::default());
    for (asked, paused) in [(0, 0), (7, 7), (60, 60), (u64::MAX, 60)] {
        let busy = || status(503, Some(asked));
        assert_eq!(pause(submission(&mut inside, &request(), busy())), Duration::from_secs(paused));
        assert_eq!(pause(job(&mut outside, Err(busy()))), Duration::from_secs(paused));
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_retries_is_bounded_for_each_request() {
    let inside = RetrySubmission::builder().retries(3).build().unwrap();
    let outside = Reattach::builder().retries(3).build().unwrap();
    for _ in 0..2 {
        let (mut inside, mut outside) = (inside.clone(), outside.clone());
        for retry in 0..5 {
            assert_eq!(submission(&mut inside, &request(), status(429, None)).is_some(), retry < 3);
            assert_eq!(job(&mut outside, Err(status(429, None))).is_some(), retry < 3);
        }
    }
}

#[derive(Debug)]
struct Purse(AtomicIsize);

impl Budget for Purse {
    fn deposit(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn withdraw(&self) -> bool {
        self.0.fetch_sub(1, Relaxed) > 0
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_drawn_from_a_budget_that_successes_fill() {
    let purse = Arc::new(Purse(AtomicIsize::new(1)));
    let policy = RetrySubmission::builder().budget(Arc::clone(&purse) as _).build().unwrap();
    let refused = || submission(&mut policy.clone(), &request(), status(429, None)).is_some();
    assert!(refused());
    assert!(!refused());
    purse.0.store(0, Relaxed);
    assert!(policy.clone().retry(&mut request(), &mut Ok::<_, Error>(Accepted::new(id("1")))).is_none());
    assert_eq!(purse.0.load(Relaxed), 1);
    // What would not be repeated costs nothing.
    assert!(submission(&mut policy.clone(), &request(), status(422, None)).is_none());
    assert!(refused());
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_called_again_after_what_may_pass() {
    for (name, error, _, passes) in errors() {
        assert_eq!(job(&mut Reattach::default(), Err(error)).is_some(), passes, "{name}");
    }
    for state in [JobState::Done, JobState::Failed] {
        assert!(job(&mut Reattach::default(), Ok(ended(state))).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_not_called_again_after_its_own_deadline() {
    let submit = service_fn(|_: SubmitRequest| std::future::pending::<Result<Accepted, Error>>());
    let polls = service_fn(|_: GetJob| std::future::pending::<Result<Polled, Error>>());
    let waits = WaitLayer::builder(polls).deadline(MS(5)).build().unwrap();
    let error = ServiceBuilder::new().layer(waits).service(submit).oneshot(request()).await.unwrap_err();
    assert!(error.is_deadline());
    assert!(job(&mut Reattach::default(), Err(error)).is_none());
}

#[tokio::test(start_paused = true)]
async fn only_failed_jobs_that_are_worth_it_are_renewed_and_a_renewal_is_no_retry() {
    let policy = Reattach::builder().retries(1).renew_failed(2, |result| result.error.is_none()).build().unwrap();
    let mut seen = policy.clone();
    let mut request = request();
    let mut keys = vec![request.submission().idempotency_key()];
    for renewed in [true, true, false] {
        let again = seen.retry(&mut request, &mut Ok::<_, Error>(ended(JobState::Failed)));
        assert_eq!(again.is_some(), renewed);
        keys.push(request.submission().idempotency_key());
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2] == keys[3]);
    assert!(job(&mut seen, Err(status(429, None))).is_some());

    let mut unworthy = JobStatus::new(id("7"), JobState::Failed);
    unworthy.error = Some("cancelled".into());
    assert!(job(&mut policy.clone(), Ok(JobResult::new(unworthy).unwrap())).is_none());
    assert!(job(&mut policy.clone(), Ok(ended(JobState::Done))).is_none());
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let (inside, outside) = (RetrySubmission::builder, Reattach::builder);
    for (name, error) in [
        ("retries", inside().retries(0).build().err()),
        ("backoff", inside().backoff(MS(0), MS(0)).build().err()),
        ("backoff", inside().backoff(MS(2), MS(1)).build().err()),
        ("backoff", inside().jitter(f64::NAN).build().err()),
        ("backoff", inside().jitter(-1.0).build().err()),
        ("retries", outside().retries(0).build().err()),
        ("backoff", outside().backoff(MS(0), MS(0)).build().err()),
        ("backoff", outside().backoff(MS(2), MS(1)).build().err()),
        ("backoff", outside().jitter(f64::INFINITY).build().err()),
        ("renew_failed", outside().renew_failed(0, |_| true).build().err()),
    ] {
        let error = error.unwrap();
        assert!(error.is_invalid() && error.to_string().starts_with(&format!("invalid {name}: ")), "{error}");
    }
    assert!(outside().retries(0).renew_failed(1, |_| true).build().is_ok());
}
