//! A daemon in memory, with a world around it that goes wrong by chance; it lives in paused time.

mod events;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use foreman_client::webhook::WebhookReceiver;
use foreman_client::{BoxError, JobId};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, sleep};
use tower::Service;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// Longer than any time-out of a client.
const EVER: Duration = Duration::from_secs(3600);
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// Everything that can go wrong, by name: a set of runs in which one of these did not has not shown enough.
pub(crate) const FAULTS: [&str; 18] = [
    "the answer to a submission lost",
    "the answer to a submission swallowed",
    "a submission reset",
    "a submission refused",
    "a submission hanging",
    "a submission answered 500",
    "a submission answered 503",
    "a submission answered 503 with Retry-After",
    "a submission answered 429",
    "a poll failed",
    "a poll answered 404 right after the submission",
    "the daemon down",
    "an event lost",
    "an event before the answer to the submission",
    "an event late",
    "an event twice",
    "an event out of order",
    "an event forged",
];

#[derive(Clone)]
pub(crate) struct Double(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    begin: Instant,
    receiver: WebhookReceiver,
    signed: bool,
    supports_idempotency: bool,
    down: (Instant, Instant),
    jobs: Vec<Job>,
    occurred: BTreeMap<&'static str, u32>,
    trace: Vec<String>,
}

struct Job {
    key: String,
    body: Bytes,
    starts: Instant,
    ends: Instant,
    /// Until then the part of the daemon that answers polls does not know it.
    hidden: Instant,
    answered: bool,
    /// The last state that an event told.
    told: usize,
}

const STATES: [&str; 3] = ["queued", "running", "done"];

impl Double {
    pub(crate) fn new(seed: u64, receiver: WebhookReceiver, signed: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let begin = Instant::now();
        let down = begin + MS(rng.u64(0..20_000));
        let down = (down, down + MS(rng.u64(0..15_000)));
        let supports_idempotency = rng.bool();
        let (occurred, trace) = (BTreeMap::new(), Vec::new());
        let state =
            State { rng, begin, receiver, signed, supports_idempotency, down, jobs: Vec::new(), occurred, trace };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A draw for whoever uses the daemon.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        self.state().rng.u64(0..below)
    }

    /// What has gone wrong, and how often.
    pub(crate) fn occurred(&self) -> BTreeMap<&'static str, u32> {
        self.state().occurred.clone()
    }

    /// Everything that happened, in its order.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The jobs that run for that key.
    pub(crate) fn jobs_of(&self, key: &str) -> Vec<JobId> {
        let state = self.state();
        let jobs = state.jobs.iter().enumerate().filter(|(_, job)| job.key == key);
        jobs.map(|(at, _)| JobId::new(format!("job-{at}")).unwrap()).collect()
    }

    pub(crate) fn result_of(job_id: &JobId) -> String {
        format!("\"the result of {job_id}\"")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn is_down(&self) -> bool {
        let mut state = self.state();
        let down = (state.down.0..state.down.1).contains(&Instant::now());
        if down {
            state.note("the daemon down");
        }
        down
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        sleep(MS(self.draw(50))).await;
        if self.is_down() {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        match *request.method() {
            Method::POST => self.submit(request).await,
            _ => self.poll(request.uri().path()).await,
        }
    }

    async fn submit(&self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        let fate = match self.draw(24) {
            at @ 0..=8 => FAULTS[usize::try_from(at)?],
            _ => "",
        };
        if !fate.is_empty() {
            self.state().note(fate);
        }
        match fate {
            "a submission reset" => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            "a submission refused" => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            "a submission hanging" => sleep(EVER).await,
            "a submission answered 503" => return Ok(status(503, None)),
            "a submission answered 503 with Retry-After" => return Ok(status(503, Some(1))),
            "a submission answered 429" => return Ok(status(429, None)),
            _ => {}
        }
        let key = request.headers()["idempotency-key"].clone();
        let body = request.into_body().collect().await?.to_bytes();
        let at = self.take(key.to_str()?, body);
        sleep(MS(self.draw(500))).await;
        match fate {
            "the answer to a submission lost" => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            "the answer to a submission swallowed" => sleep(EVER).await,
            // Said by what stands between, when the daemon has taken it already.
            "a submission answered 500" => return Ok(status(500, None)),
            _ => {}
        }
        let mut state = self.state();
        state.jobs[at].answered = true;
        let mut answer = json(202, format!(r#"{{"job_id":"job-{at}"}}"#));
        if state.supports_idempotency {
            answer.headers_mut().insert("idempotency-key", key);
        }
        Ok(answer)
    }

    /// Makes a job of it, unless its key is kept.
    fn take(&self, key: &str, body: Bytes) -> usize {
        let mut state = self.state();
        if let Some(at) = state.jobs.iter().position(|job| job.key == key).filter(|_| state.supports_idempotency) {
            assert_eq!(state.jobs[at].body, body, "one key, two bodies");
            return at;
        }
        let at = state.jobs.len();
        let now = Instant::now();
        let starts = now + MS([0, state.rng.u64(0..10_000)][state.rng.usize(0..2)]);
        let ends = starts + MS([1, state.rng.u64(1..60_000)][state.rng.usize(0..2)]);
        let hidden = now + MS([0, 0, state.rng.u64(0..2_500)][state.rng.usize(0..3)]);
        state.log(&format!("job-{at} taken"));
        let fields: HashMap<String, serde_json::Value> = serde_json::from_slice(&body).unwrap();
        state.jobs.push(Job { key: key.to_owned(), body, starts, ends, hidden, answered: false, told: 0 });
        if let Some(url) = fields.get("state_webhook_url") {
            self.plan_events(&mut state, at, url.as_str().unwrap());
        }
        at
    }

    async fn poll(&self, path: &str) -> Result<Response<Full<Bytes>>, BoxError> {
        let at: usize = path.strip_prefix("/jobs/job-").unwrap().parse()?;
        let fate = self.draw(20);
        if fate < 4 {
            self.state().note("a poll failed");
        }
        match fate {
            0 => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            1 => return Ok(status(500, None)),
            2 => return Ok(status(429, Some(2))),
            3 => sleep(EVER).await,
            _ => {}
        }
        let mut state = self.state();
        let now = Instant::now();
        let job = &state.jobs[at];
        if now < job.hidden {
            state.note("a poll answered 404 right after the submission");
            return Ok(status(404, None));
        }
        let seen = usize::from(now >= job.starts) + usize::from(now >= job.ends);
        state.log(&format!("job-{at} polled: {}", STATES[seen]));
        Ok(json(200, told(at, seen)))
    }
}

impl State {
    fn note(&mut self, fault: &'static str) {
        *self.occurred.entry(fault).or_default() += 1;
        self.log(fault);
    }

    fn log(&mut self, what: &str) {
        self.trace.push(format!("{:?} {what}", self.begin.elapsed()));
    }
}

impl Service<Request<Full<Bytes>>> for Double {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.answer(request).await })
    }
}

fn told(at: usize, order: usize) -> String {
    let result = if order == 2 { format!(r#""the result of job-{at}""#) } else { "null".to_owned() };
    let attempt = u8::from(order > 0);
    format!(r#"{{"job_id":"job-{at}","state":"{}","attempt":{attempt},"result":{result}}}"#, STATES[order])
}

fn json(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

fn status(status: u16, retry_after: Option<u64>) -> Response<Full<Bytes>> {
    let mut answer = json(status, "{}");
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}
