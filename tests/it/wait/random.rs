//! Random faults of network, daemon and callers: every wait ends, and no job runs twice.

use std::collections::BTreeMap;

use fastrand::Rng;
use foreman_client::wait::{WaitLayerBuilder, WaitStats};
use foreman_client::{Error, JobResult, Notifier, Submission, SubmitRequest};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::support::{MockApi, MockWait, ReceivedRequest, WebhookHarness, learn_idempotency, millis, request, seconds};

/// The number of runs. The number of a run is its seed, so that a failed run can be repeated alone.
const RUNS: u64 = 2_000;

/// The state of the daemon, and the rules by which it responds to requests.
struct RandomScript {
    harness: WebhookHarness,
    rng: Rng,
    supports_idempotency: bool,
    sends_events: bool,
    /// The job of the first submission that arrived.
    job: Option<Job>,
    /// The body and the key of the first submission.
    first: Option<(bytes::Bytes, String)>,
    arrived: u32,
    submission: Submission,
    occurred: Occurred,
}

struct Job {
    url: Option<String>,
    done_at: Instant,
    events: Vec<(Instant, &'static str)>,
}

impl RandomScript {
    fn new(seed: u64, submission: Submission) -> Self {
        let mut rng = Rng::with_seed(seed);
        let patient = |layer: WaitLayerBuilder<MockApi>| layer.failure_budget(seconds(10_000));
        let mut harness = WebhookHarness::new(Notifier::new(), rng.bool(), patient);
        if rng.u8(..4) == 0 {
            harness.wait = harness.without_webhooks(patient);
        }
        let (supports_idempotency, sends_events) = (rng.bool(), rng.bool());
        Self {
            harness,
            supports_idempotency,
            sends_events,
            rng,
            job: None,
            first: None,
            arrived: 0,
            submission,
            occurred: Occurred::default(),
        }
    }

    /// Creates the job when the first submission arrives.
    fn create_job(&mut self, post: &ReceivedRequest) {
        self.arrived += 1;
        if self.job.is_some() {
            return;
        }
        let now = Instant::now();
        let mut at = |within: u64| now + millis(self.rng.u64(..within * 1_000));
        let done_at = at(120);
        let mut events = vec![(at(5), "queued"), (at(60), "running"), (done_at, "done"), (done_at, "done")];
        events.retain(|_| self.sends_events && self.rng.u8(..4) != 0);
        for (when, _) in &mut events {
            *when += millis(self.rng.u64(..2_000));
        }
        events.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
        self.job = Some(Job { url: post.callback(), done_at, events });
    }

    fn respond_to_post(&mut self, post: ReceivedRequest, seed: u64) {
        let sent = (post.body.clone(), post.header("idempotency-key").unwrap().to_owned());
        let first = self.first.get_or_insert_with(|| sent.clone());
        assert_eq!(*first, sent, "run {seed}: a repeated submission differs");
        let chance = self.rng.u8(..10);
        if chance > 2 {
            self.create_job(&post);
        }
        let supports_idempotency = self.supports_idempotency;
        self.respond_later(post, move |request| match chance {
            0 => request.fail(std::io::ErrorKind::ConnectionRefused),
            1 => request.respond(429, ""),
            // The submission (2) or its response (3, 4) is lost.
            2..=4 => request.reset(),
            5 => request.respond(502, "<html>"),
            _ if supports_idempotency => request.accept_with_key("7"),
            _ => request.accept("7"),
        });
    }

    fn respond_to_get(&mut self, get: ReceivedRequest) {
        let done = self.job.as_ref().is_some_and(|job| Instant::now() >= job.done_at);
        let chance = self.rng.u8(..10);
        self.respond_later(get, move |request| match chance {
            0 => request.reset(),
            1 => request.respond(500, ""),
            2 => request.respond(200, "nonsense"),
            _ if done => request.respond_state("done"),
            _ => request.respond_state("running"),
        });
    }

    /// Responds now or after a delay, sometimes after the client's timeout.
    fn respond_later(&mut self, received: ReceivedRequest, respond: impl FnOnce(ReceivedRequest) + Send + 'static) {
        let delay = match self.rng.u8(..8) {
            0 => self.rng.u64(..40_000),
            1..=3 => self.rng.u64(..4_000),
            _ => return respond(received),
        };
        tokio::spawn(async move {
            sleep(millis(delay)).await;
            respond(received);
        });
    }

    /// Runs the daemon until `stop`.
    async fn run(&mut self, seed: u64, mut stop: tokio::sync::oneshot::Receiver<()>) {
        loop {
            let event = self.job.as_ref().and_then(|job| job.events.last().copied());
            let at = event.map_or_else(|| Instant::now() + seconds(100_000), |(at, _)| at);
            tokio::select! {
                biased;
                _ = &mut stop => return,
                () = tokio::time::sleep_until(at) => self.send_event().await,
                request = self.harness.daemon.next() => {
                    if request.method == http::Method::POST {
                        self.respond_to_post(request, seed);
                    } else {
                        self.respond_to_get(request);
                    }
                }
            }
        }
    }

    async fn send_event(&mut self) {
        let Some(job) = &mut self.job else { return };
        let Some((_, state)) = job.events.pop() else { return };
        if let Some(url) = job.url.clone() {
            self.occurred.early += u64::from(self.submission.job_id().is_none());
            self.harness.event(&url, "7", state).await;
        }
    }
}

/// Drops some waits, then calls until there is a result or an error that is not safe to resubmit.
async fn caller(wait: MockWait, request: SubmitRequest, mut rng: Rng) -> Result<JobResult, Error> {
    for _ in 0..rng.u8(..4) {
        let patience = millis(rng.u64(..20_000));
        let dropped = timeout(patience, wait.clone().oneshot(request.clone()));
        if let Ok(Ok(result)) = dropped.await {
            return Ok(result);
        }
        sleep(millis(rng.u64(..5_000))).await;
    }
    let mut last = wait.clone().oneshot(request.clone()).await;
    for _ in 0..20 {
        match &last {
            Err(error) if error.is_safe_to_resubmit() => {
                sleep(seconds(1)).await;
                last = wait.clone().oneshot(request.clone()).await;
            }
            _ => break,
        }
    }
    last
}

async fn run(seed: u64) -> Occurred {
    let request = request();
    let mut script = RandomScript::new(seed, request.submission());
    let (wait, notifier) = (script.harness.wait.clone(), script.harness.notifier.clone());
    if script.supports_idempotency {
        learn_idempotency(&wait, &mut script.harness.daemon).await;
    }
    let (stop_sender, stop) = tokio::sync::oneshot::channel();
    let mut rng = script.rng.fork();
    let hedges: Vec<_> = (0..rng.u8(1..3)).map(|_| caller(wait.clone(), request.clone(), rng.fork())).collect();
    let callers = async {
        let results = timeout(seconds(50_000), futures_util::future::join_all(hedges)).await;
        // For late events, and for the grace of missing ones.
        sleep(seconds(10)).await;
        drop(stop_sender);
        results.unwrap_or_else(|_| panic!("run {seed}: a wait did not end"))
    };
    let (results, ()) = tokio::join!(callers, script.run(seed, stop));

    if !script.supports_idempotency {
        assert!(script.arrived <= 1, "run {seed}: sent {} times without keys", script.arrived);
    }
    for result in results {
        match result {
            Ok(result) => {
                assert_eq!((result.job_id().as_str(), result.state().as_str()), ("7", "done"), "run {seed}");
                assert!(script.job.as_ref().is_some_and(|job| job.done_at <= Instant::now()), "run {seed}: too early");
            }
            // An unsent submission has not arrived. Any other error is maybe submitted.
            Err(error) if error.is_safe_to_resubmit() => assert_eq!(script.arrived, 0, "run {seed}: {error:?}"),
            Err(error) => assert!(error.is_maybe_submitted(), "run {seed}: {error:?}"),
        }
    }
    drop(request);
    let stats = wait.stats();
    assert_eq!((notifier.waiting(), stats.waiting()), (0, 0), "run {seed}: waits are left");
    let duplicates = notifier.stats().duplicates;
    Occurred { stats, duplicates, resent: u64::from(script.arrived > 1), ..script.occurred }
}

/// The events of a run. Runs without them prove nothing.
#[derive(Default)]
struct Occurred {
    stats: WaitStats,
    early: u64,
    duplicates: u64,
    resent: u64,
}

#[test]
fn random_faults_end_every_wait_with_one_job() {
    let mut runs_with = BTreeMap::new();
    for seed in 0..RUNS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let Occurred { stats, early, duplicates, resent } = runtime.block_on(run(seed));
        for (event, count) in [
            ("event before the 202", early),
            ("duplicate event", duplicates),
            ("resent submission", resent),
            ("lost response", stats.lost_responses),
            ("attached wait", stats.attached),
            ("dropped wait", stats.dropped),
            ("failed wait", stats.failed),
            ("end by webhook", stats.finished_by_webhook),
            ("end by poll", stats.finished_by_poll),
            ("rescued wait", stats.rescued),
            ("failed poll", stats.poll_failures),
        ] {
            *runs_with.entry(event).or_insert(0) += u64::from(count > 0);
        }
    }
    for (event, runs) in runs_with {
        assert!(runs >= 10, "only {runs} of {RUNS} runs had: {event}");
    }
}
