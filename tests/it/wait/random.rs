//! Random worlds: whatever the network, the daemon and the callers do, the promises hold.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use foreman_client::wait::{WaitLayerBuilder, WaitStats};
use foreman_client::{Error, JobResult, Notifier, Submission, SubmitRequest};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use crate::support::{Asked, Pushed, TestApi, TestWait, begin, request, seconds};

/// How many worlds are tried; a world that failed is run alone by its number, which is the seed of all chance in it.
const WORLDS: u64 = 1_000;

/// The daemon as it really is, whatever of it comes through.
struct World {
    it: Pushed,
    rng: Rng,
    supports_idempotency: bool,
    sends_events: bool,
    /// The job, once a submission has arrived.
    job: Option<Job>,
    /// The bytes and the key of the first submission.
    first: Option<(bytes::Bytes, String)>,
    arrived: u32,
    known: Submission,
    seen: Seen,
}

struct Job {
    url: Option<String>,
    done_at: Instant,
    events: Vec<(Instant, &'static str)>,
}

impl World {
    fn new(seed: u64, known: Submission) -> Self {
        let mut rng = Rng::with_seed(seed);
        let patient = |layer: WaitLayerBuilder<TestApi>| layer.failure_budget(seconds(10_000));
        let mut it = Pushed::new(Notifier::new(), rng.bool(), patient);
        if rng.u8(..4) == 0 {
            it.wait = it.without_push(patient);
        }
        let (supports_idempotency, sends_events) = (rng.bool(), rng.bool());
        Self {
            it,
            supports_idempotency,
            sends_events,
            rng,
            job: None,
            first: None,
            arrived: 0,
            known,
            seen: Seen::default(),
        }
    }

    /// A submission has arrived.
    fn take(&mut self, asked: &Asked) {
        self.arrived += 1;
        if self.job.is_some() {
            return;
        }
        let now = Instant::now();
        let mut at = |within: u64| now + Duration::from_millis(self.rng.u64(..within * 1_000));
        let done_at = at(120);
        let mut events = vec![(at(5), "queued"), (at(60), "running"), (done_at, "done"), (done_at, "done")];
        events.retain(|_| self.sends_events && self.rng.u8(..4) != 0);
        for (when, _) in &mut events {
            *when += Duration::from_millis(self.rng.u64(..2_000));
        }
        events.sort_by_key(|(when, _)| std::cmp::Reverse(*when));
        self.job = Some(Job { url: asked.callback(), done_at, events });
    }

    fn post(&mut self, asked: Asked, seed: u64) {
        let sent = (asked.body.clone(), asked.header("idempotency-key").unwrap().to_owned());
        let first = self.first.get_or_insert_with(|| sent.clone());
        assert_eq!(*first, sent, "world {seed}: a re-send is the same bytes under the same key");
        let chance = self.rng.u8(..10);
        if chance > 2 {
            self.take(&asked);
        }
        let supports_idempotency = self.supports_idempotency;
        self.later(asked, move |asked| match chance {
            0 => asked.fail(std::io::ErrorKind::ConnectionRefused),
            1 => asked.answer(429, ""),
            // It was lost on its way to the daemon, or on the way back.
            2..=4 => asked.reset(),
            5 => asked.answer(502, "<html>"),
            _ if supports_idempotency => asked.accept_with_key("7"),
            _ => asked.accept("7"),
        });
    }

    fn get(&mut self, asked: Asked) {
        let done = self.job.as_ref().is_some_and(|job| Instant::now() >= job.done_at);
        let chance = self.rng.u8(..10);
        self.later(asked, move |asked| match chance {
            0 => asked.reset(),
            1 => asked.answer(500, ""),
            2 => asked.answer(200, "nonsense"),
            _ if done => asked.tell("done"),
            _ => asked.tell("running"),
        });
    }

    /// Answers now or after a while; seldom so late that nobody waits for it any more.
    fn later(&mut self, asked: Asked, answer: impl FnOnce(Asked) + Send + 'static) {
        let delay = match self.rng.u8(..8) {
            0 => self.rng.u64(..40_000),
            1..=3 => self.rng.u64(..4_000),
            _ => return answer(asked),
        };
        tokio::spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            answer(asked);
        });
    }

    /// Plays the daemon until `over`.
    async fn play(&mut self, seed: u64, mut over: tokio::sync::oneshot::Receiver<()>) {
        loop {
            let event = self.job.as_ref().and_then(|job| job.events.last().copied());
            let at = event.map_or_else(|| Instant::now() + seconds(100_000), |(at, _)| at);
            tokio::select! {
                biased;
                _ = &mut over => return,
                () = tokio::time::sleep_until(at) => self.send_event().await,
                asked = self.it.daemon.next() => {
                    if asked.method == http::Method::POST { self.post(asked, seed) } else { self.get(asked) }
                }
            }
        }
    }

    async fn send_event(&mut self) {
        let Some(job) = &mut self.job else { return };
        let Some((_, state)) = job.events.pop() else { return };
        if let Some(url) = job.url.clone() {
            self.seen.early += u64::from(self.known.job_id().is_none());
            self.it.event(&url, "7", state).await;
        }
    }
}

/// Calls until there is a result or an error that says that calling again is of no use; drops some waits on the way.
async fn caller(wait: TestWait, request: SubmitRequest, mut rng: Rng) -> Result<JobResult, Error> {
    for _ in 0..rng.u8(..4) {
        let patience = Duration::from_millis(rng.u64(..20_000));
        let impatient = timeout(patience, wait.clone().oneshot(request.clone()));
        if let Ok(Ok(result)) = impatient.await {
            return Ok(result);
        }
        sleep(Duration::from_millis(rng.u64(..5_000))).await;
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

async fn world(seed: u64) -> Seen {
    let request = request();
    let mut world = World::new(seed, request.submission());
    let (wait, notifier) = (world.it.wait.clone(), world.it.notifier.clone());
    if world.supports_idempotency {
        // An earlier job has shown that it does.
        let waiting = begin(&wait, &SubmitRequest::builder("m").build().unwrap());
        world.it.daemon.post().await.accept_with_key("1");
        world.it.daemon.get().await.tell("done");
        waiting.await.unwrap().unwrap();
    }
    let (tell_over, over) = tokio::sync::oneshot::channel();
    let mut rng = world.rng.fork();
    let hedges: Vec<_> = (0..rng.u8(1..3)).map(|_| caller(wait.clone(), request.clone(), rng.fork())).collect();
    let callers = async {
        let ended = timeout(seconds(50_000), futures_util::future::join_all(hedges)).await;
        // Events come late, too.
        sleep(seconds(5)).await;
        drop(tell_over);
        ended.unwrap_or_else(|_| panic!("world {seed}: a wait did not end"))
    };
    let (results, ()) = tokio::join!(callers, world.play(seed, over));

    if !world.supports_idempotency {
        assert!(world.arrived <= 1, "world {seed}: sent {} times without keys", world.arrived);
    }
    for result in results {
        match result {
            Ok(result) => {
                assert_eq!((result.job_id.as_str(), result.state.as_str()), ("7", "done"), "world {seed}");
                assert!(world.job.as_ref().is_some_and(|job| job.done_at <= Instant::now()), "world {seed}: too early");
            }
            // What surely did not arrive may not have arrived; what may have says so.
            Err(error) if error.is_safe_to_resubmit() => assert_eq!(world.arrived, 0, "world {seed}: {error:?}"),
            Err(error) => assert!(error.is_maybe_submitted(), "world {seed}: {error:?}"),
        }
    }
    drop(request);
    let stats = wait.stats();
    assert_eq!((notifier.waiting(), stats.waiting()), (0, 0), "world {seed}: something is left");
    let duplicates = notifier.stats().duplicates;
    Seen { stats, duplicates, resent: u64::from(world.arrived > 1), ..world.seen }
}

/// What the worlds have shown: where nothing of it happened, nothing was proved.
#[derive(Default)]
struct Seen {
    stats: WaitStats,
    early: u64,
    duplicates: u64,
    resent: u64,
}

#[test]
fn in_random_worlds_every_wait_ends_and_no_job_runs_twice() {
    let mut worlds_with = BTreeMap::new();
    for seed in 0..WORLDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let Seen { stats, early, duplicates, resent } = runtime.block_on(world(seed));
        for (what, count) in [
            ("an event before the 202", early),
            ("a duplicate", duplicates),
            ("a re-send", resent),
            ("a lost answer", stats.lost_responses),
            ("a wait that attached", stats.attached),
            ("a wait that was dropped", stats.dropped),
            ("a wait that failed", stats.failed),
            ("an end by push", stats.finished_by_webhook),
            ("an end by poll", stats.finished_by_poll),
            ("a rescue", stats.rescued),
            ("a poll that failed", stats.poll_failures),
        ] {
            *worlds_with.entry(what).or_insert(0) += u64::from(count > 0);
        }
    }
    for (what, worlds) in worlds_with {
        assert!(worlds >= 10, "only {worlds} of {WORLDS} worlds had {what}");
    }
}
