//! Random faults of a simulated daemon: every wait ends, no job runs twice, and every error is accurate.

use std::collections::BTreeMap;
use std::time::Duration;

use foreman_client::api::{Api, Failover, FailoverLayer};
use foreman_client::retry::{Reattach, RetrySubmission};
use foreman_client::source::PollPolicy;
use foreman_client::wait::WebhookEndpoint;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{Error, JobResult, Notifier, SubmitRequest, Wait, WaitLayer};
use tokio::time::{sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::retry::Retry;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

use crate::support::{FAULTS, SECRET, SimulatedDaemon, millis, request, seconds};

/// No wait takes longer, and no event is later.
const LONG: Duration = seconds(3_600);
const SEEDS: u64 = 64;

/// The callers of the wait.
const CALLERS: [&str; 5] = ["one wait", "retry above timeout", "two waits", "two waits, one dropped", "repeated calls"];

type Http = Failover<SimulatedDaemon>;
type Jobs = Wait<Retry<RetrySubmission, ConcurrencyLimit<Api<Http>>>, Api<Http>>;

/// `addresses`: how many the daemon has.
fn jobs(daemon: &SimulatedDaemon, addresses: u64, webhooks: Option<WebhookEndpoint>) -> Jobs {
    let limit = millis(5_000);
    let others = (1..addresses).map(|number| format!("http://daemon-{number}").parse().unwrap());
    let failover = FailoverLayer::new("http://daemon".parse().unwrap(), others);
    let api = Api::new("http://daemon".parse().unwrap(), failover.layer(daemon.clone()));
    let api = api.request_timeout(limit).unwrap();
    let polls = PollPolicy::builder().long_poll(Duration::ZERO).build().unwrap();
    let mut waits = WaitLayer::builder(api.clone()).poll_policy(polls).lost_response_window(millis(3_000));
    if let Some(webhooks) = webhooks {
        waits = waits.webhooks(webhooks);
    }
    let retry = RetrySubmission::builder().jitter(0.0).no_budget().build().unwrap();
    ServiceBuilder::new().layer(waits.build().unwrap()).retry(retry).concurrency_limit(2).service(api)
}

/// Calls `jobs` as one of [`CALLERS`], and returns the result of each wait that was not dropped.
async fn call(
    daemon: &SimulatedDaemon,
    jobs: Jobs,
    request: &SubmitRequest,
    caller: &'static str,
) -> Vec<Result<JobResult, Error>> {
    let wait = || jobs.clone().oneshot(request.clone());
    match caller {
        "retry above timeout" => {
            let policy =
                Reattach::builder().backoff(millis(50), millis(1_000)).jitter(0.0).retries(100).build().unwrap();
            let stack = ServiceBuilder::new()
                .map_err(Error::from_boxed)
                .retry(policy)
                .timeout(millis(20 + daemon.draw(10_000)))
                .service(jobs.clone());
            vec![stack.oneshot(request.clone()).await]
        }
        "two waits" => {
            let pause = millis(daemon.draw(2_000));
            let second = async {
                sleep(pause).await;
                wait().await
            };
            let (first, second) = tokio::join!(wait(), second);
            vec![first, second]
        }
        "two waits, one dropped" => {
            let dropped = tokio::spawn(timeout(millis(daemon.draw(5_000)), wait()));
            sleep(millis(daemon.draw(100))).await;
            let kept = wait().await;
            // If it ended before it was dropped, its result counts too.
            std::iter::once(kept).chain(dropped.await.unwrap().ok()).collect()
        }
        "repeated calls" => {
            for _ in 0..daemon.draw(5) {
                let limit = millis(daemon.draw(1_000));
                if let Ok(end) = timeout(limit, wait()).await {
                    return vec![end];
                }
            }
            vec![wait().await]
        }
        _ => vec![wait().await],
    }
}

fn check(daemon: &SimulatedDaemon, request: &SubmitRequest, sole_wait: bool, result: &Result<JobResult, Error>) {
    let submission = request.submission();
    let jobs = daemon.jobs_of(&submission.idempotency_key().to_string());
    assert!(jobs.len() <= 1, "more than one job: {jobs:?}");
    match result {
        Ok(result) => {
            assert_eq!(jobs.first(), Some(result.job_id()));
            assert_eq!(result.json().as_ref().unwrap().get(), SimulatedDaemon::result_of(result.job_id()));
        }
        Err(error) => {
            // The daemon knows every job that it has accepted.
            assert!(!error.is_not_found(), "{error}");
            // Another wait may have sent what this one could not.
            assert!(!sole_wait || !error.is_safe_to_resubmit() || jobs.is_empty(), "{jobs:?} despite: {error}");
            // The error of a timeout above the wait has no job.
            let known = error.job_id().is_some() || error.is_safe_to_resubmit() || error.is_maybe_submitted();
            assert!(known || error.is_timeout(), "{error}");
        }
    }
}

/// The record of one run.
struct Run {
    occurred: BTreeMap<&'static str, u32>,
    trace: Vec<String>,
    results: usize,
}

async fn simulate(seed: u64) -> Run {
    let notifier = Notifier::new();
    let receiver = WebhookReceiver::builder(notifier.clone());
    let signed = seed.is_multiple_of(2);
    let receiver = if signed { receiver.secret(SECRET) } else { receiver }.build().unwrap();
    let daemon = SimulatedDaemon::new(seed, receiver, signed);
    let webhooks =
        (daemon.draw(4) > 0).then(|| WebhookEndpoint::new(notifier.clone(), "http://gateway/hooks").unwrap());
    let jobs = jobs(&daemon, 1 + seed % 3, webhooks);

    let callers: Vec<_> = (0..6)
        .map(|_| {
            let (daemon, jobs) = (daemon.clone(), jobs.clone());
            tokio::spawn(async move {
                let caller = CALLERS[usize::try_from(daemon.draw(CALLERS.len() as u64)).unwrap()];
                sleep(millis(daemon.draw(20_000))).await;
                let request = request();
                let results = timeout(LONG, call(&daemon, jobs, &request, caller)).await;
                let results = results.unwrap_or_else(|_| panic!("a wait of {caller} does not end"));
                results.iter().for_each(|result| check(&daemon, &request, !caller.starts_with("two"), result));
                results.iter().filter(|result| result.is_ok()).count()
            })
        })
        .collect();
    let mut results = 0;
    for caller in callers {
        results += caller.await.unwrap();
    }
    assert_eq!((notifier.waiting(), jobs.stats().waiting()), (0, 0), "waits are left");
    // The last events arrive.
    sleep(LONG).await;
    Run { occurred: daemon.occurred(), trace: daemon.trace(), results }
}

fn run(seed: u64) -> Run {
    /// Prints the seed if the run fails.
    struct Seed(u64);

    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the seed was {}", self.0);
            }
        }
    }

    let _guard = Seed(seed);
    // For the random numbers of the client, such as the first pause of polls.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(simulate(seed))
}

#[test]
fn simulated_faults_end_every_wait_with_one_job() {
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
    assert!(missing.is_empty(), "no run had {missing:?}: {occurred:?}");
    // Waits that all fail prove nothing either.
    assert!(results > 300, "{results} results");
}

#[test]
fn same_seed_repeats_run() {
    for seed in [3, 4] {
        assert_eq!(run(seed).trace, run(seed).trace, "seed {seed}");
    }
}
