//! Random worlds: whatever goes wrong, every wait ends, nothing runs twice, and what is said of a job is true.

use std::collections::BTreeMap;
use std::time::Duration;

use foreman_client::api::Api;
use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::source::PollPolicy;
use foreman_client::wait::WebhookEndpoint;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{Error, JobResult, Notifier, SubmitRequest, Wait, WaitLayer};
use tokio::time::{sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::retry::Retry;
use tower::{ServiceBuilder, ServiceExt as _};

use super::double::{Double, FAULTS, SECRET};

const MS: fn(u64) -> Duration = Duration::from_millis;
/// No wait may take longer, and no event is later.
const LONG: Duration = Duration::from_secs(3600);
const SEEDS: u64 = 64;

/// What stands above the wait.
const STACKS: [&str; 5] =
    ["nothing", "a retry above a time-out", "two waits", "two waits, one dropped", "called again"];

type Jobs = Wait<Retry<RetrySubmission, ConcurrencyLimit<Api<Double>>>, Api<Double>>;

fn jobs(double: &Double, push: Option<WebhookEndpoint>) -> Jobs {
    let api = Api::new("http://double".parse().unwrap(), double.clone()).request_timeout(MS(5_000)).unwrap();
    let polls = PollPolicy::builder().long_poll(Duration::ZERO).build().unwrap();
    let mut waits = WaitLayer::builder(api.clone()).poll_policy(polls).lost_response_window(MS(3_000));
    if let Some(push) = push {
        waits = waits.webhooks(push);
    }
    let retry = RetrySubmission::builder().jitter(0.0).no_budget().build().unwrap();
    ServiceBuilder::new().layer(waits.build().unwrap()).retry(retry).concurrency_limit(2).service(api)
}

/// Calls `jobs` as one of [`STACKS`] does, and gives every end there was.
async fn call(
    double: &Double,
    jobs: Jobs,
    request: &SubmitRequest,
    stack: &'static str,
) -> Vec<Result<JobResult, Error>> {
    let wait = || jobs.clone().oneshot(request.clone());
    match stack {
        "a retry above a time-out" => {
            let policy = Reattach::builder().backoff(MS(50), MS(1_000)).jitter(0.0).retries(100).build().unwrap();
            let stack = ServiceBuilder::new()
                .map_err(Error::from_boxed)
                .retry(policy)
                .timeout(MS(20 + double.draw(10_000)))
                .service(jobs.clone());
            vec![stack.oneshot(request.clone()).await]
        }
        "two waits" => {
            let pause = MS(double.draw(2_000));
            let second = async {
                sleep(pause).await;
                wait().await
            };
            let (first, second) = tokio::join!(wait(), second);
            vec![first, second]
        }
        "two waits, one dropped" => {
            let dropped = tokio::spawn(timeout(MS(double.draw(5_000)), wait()));
            sleep(MS(double.draw(100))).await;
            let kept = wait().await;
            // If it was not dropped, its end counts too.
            std::iter::once(kept).chain(dropped.await.unwrap().ok()).collect()
        }
        "called again" => {
            for _ in 0..double.draw(5) {
                let limit = MS(double.draw(1_000));
                if let Ok(end) = timeout(limit, wait()).await {
                    return vec![end];
                }
            }
            vec![wait().await]
        }
        _ => vec![wait().await],
    }
}

fn check(double: &Double, request: &SubmitRequest, alone: bool, end: &Result<JobResult, Error>) {
    let submission = request.submission();
    let ran = double.jobs_of(&submission.idempotency_key().to_string());
    assert!(ran.len() <= 1, "ran as {ran:?}");
    match end {
        Ok(result) => {
            assert_eq!(ran.first(), Some(&result.job_id));
            assert_eq!(result.result.as_ref().unwrap().get(), Double::result_of(&result.job_id));
        }
        Err(error) => {
            // The daemon knows every job that it has taken.
            assert!(!error.is_not_found(), "{error}");
            // Another wait may have sent what this one could not.
            assert!(!alone || !error.is_safe_to_resubmit() || ran.is_empty(), "{ran:?}, and yet: {error}");
            // A time-out above the wait knows nothing of the job.
            let known = error.job_id().is_some() || error.is_safe_to_resubmit() || error.is_maybe_submitted();
            assert!(known || error.is_timeout(), "{error}");
        }
    }
}

/// What one world was like.
struct Run {
    occurred: BTreeMap<&'static str, u32>,
    trace: Vec<String>,
    results: usize,
}

async fn world(seed: u64) -> Run {
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone());
    let signed = seed.is_multiple_of(2);
    let receiver = if signed { receiver.secret(SECRET) } else { receiver }.build().unwrap();
    let double = Double::new(seed, receiver, signed);
    let push = (double.draw(4) > 0).then(|| WebhookEndpoint::new(notifier.clone(), "http://gateway/hooks").unwrap());
    let jobs = jobs(&double, push);

    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (double, jobs) = (double.clone(), jobs.clone());
            tokio::spawn(async move {
                let stack = STACKS[usize::try_from(double.draw(STACKS.len() as u64)).unwrap()];
                sleep(MS(double.draw(20_000))).await;
                let request = SubmitRequest::builder("m").user("hi").build().unwrap();
                let ends = timeout(LONG, call(&double, jobs, &request, stack)).await;
                let ends = ends.unwrap_or_else(|_| panic!("with {stack} above, the wait does not end"));
                ends.iter().for_each(|end| check(&double, &request, !stack.starts_with("two"), end));
                ends.iter().filter(|end| end.is_ok()).count()
            })
        })
        .collect();
    let mut results = 0;
    for caller in callers {
        results += caller.await.unwrap();
    }
    assert_eq!((notifier.waiting(), jobs.stats().waiting()), (0, 0), "something is left");
    // The last events find nobody.
    sleep(LONG).await;
    Run { occurred: double.occurred(), trace: double.trace(), results }
}

fn run(seed: u64) -> Run {
    /// Tells which world it was that failed.
    struct Seed(u64);

    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the seed was {}", self.0);
            }
        }
    }

    let _told = Seed(seed);
    // Where the crate draws by itself, as for the first pause of polls.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world(seed))
}

#[test]
fn whatever_goes_wrong_every_wait_ends_and_nothing_runs_twice() {
    let mut occurred = BTreeMap::new();
    let mut results = 0;
    let random = fastrand::Rng::new().u64(SEEDS..);
    println!("the random seed is {random}");
    for seed in (0..SEEDS).chain([random]) {
        let run = run(seed);
        results += run.results;
        for (fault, times) in run.occurred {
            *occurred.entry(fault).or_insert(0) += times;
        }
    }
    let missing: Vec<_> = FAULTS.iter().filter(|fault| !occurred.contains_key(*fault)).collect();
    assert!(missing.is_empty(), "these runs have shown nothing of {missing:?}: {occurred:?}");
    // Nor would waits that all fail.
    assert!(results > 300, "{results} results");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [3, 4] {
        assert_eq!(run(seed).trace, run(seed).trace, "seed {seed}");
    }
}
