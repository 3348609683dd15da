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

use super::{job_id, millis};

/// Longer than any timeout of a client.
const HANG: Duration = Duration::from_secs(3600);

/// The names of all faults. A set of runs must contain each of them to prove anything.
pub(crate) const FAULTS: [&str; 18] = [
    "submission response lost",
    "submission response missing",
    "submission reset",
    "submission refused",
    "submission hanging",
    "submission failed with 500",
    "submission failed with 503",
    "submission failed with 503 and Retry-After",
    "submission failed with 429",
    "poll failed",
    "poll failed with 404 after the submission",
    "daemon down",
    "event lost",
    "event before the 202",
    "event late",
    "event duplicated",
    "event out of order",
    "event forged",
];

/// The HTTP client of a daemon in memory. Requests and events fail at random, from a seed, on paused time.
#[derive(Clone)]
pub(crate) struct SimulatedDaemon(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    started: Instant,
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
    /// Polls before this return 404, as those of a replica that lags.
    visible: Instant,
    /// Whether the client has received the `202`.
    accepted: bool,
    /// The last state that an event reported.
    reported: usize,
}

const STATES: [&str; 3] = ["queued", "running", "done"];

impl SimulatedDaemon {
    pub(crate) fn new(seed: u64, receiver: WebhookReceiver, signed: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let started = Instant::now();
        let down = started + millis(rng.u64(0..20_000));
        let down = (down, down + millis(rng.u64(0..15_000)));
        let supports_idempotency = rng.bool();
        let (occurred, trace) = (BTreeMap::new(), Vec::new());
        let state =
            State { rng, started, receiver, signed, supports_idempotency, down, jobs: Vec::new(), occurred, trace };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A random number from the same seed, for the callers of the daemon.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        self.state().rng.u64(0..below)
    }

    /// The faults that occurred, and how often.
    pub(crate) fn occurred(&self) -> BTreeMap<&'static str, u32> {
        self.state().occurred.clone()
    }

    /// All events of the run, in order.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// The jobs with that idempotency key.
    pub(crate) fn jobs_of(&self, key: &str) -> Vec<JobId> {
        let state = self.state();
        let jobs = state.jobs.iter().enumerate().filter(|(_, job)| job.key == key);
        jobs.map(|(at, _)| job_id(&format!("job-{at}"))).collect()
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
            state.note("daemon down");
        }
        down
    }

    async fn respond(&self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        sleep(millis(self.draw(50))).await;
        // Only one of its addresses, if it has several.
        if request.uri().host() == Some("daemon") && self.is_down() {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        match *request.method() {
            Method::POST => self.submit(request).await,
            _ => self.poll(request.uri().path()).await,
        }
    }

    async fn submit(&self, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
        let fault = match self.draw(24) {
            at @ 0..=8 => FAULTS[usize::try_from(at)?],
            _ => "",
        };
        if !fault.is_empty() {
            self.state().note(fault);
        }
        match fault {
            "submission reset" => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            "submission refused" => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            "submission hanging" => sleep(HANG).await,
            "submission failed with 503" => return Ok(status(503, None)),
            "submission failed with 503 and Retry-After" => return Ok(status(503, Some(1))),
            "submission failed with 429" => return Ok(status(429, None)),
            _ => {}
        }
        let key = request.headers()["idempotency-key"].clone();
        let body = request.into_body().collect().await?.to_bytes();
        let at = self.create_job(key.to_str()?, body);
        sleep(millis(self.draw(500))).await;
        match fault {
            "submission response lost" => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            "submission response missing" => sleep(HANG).await,
            // The response of a proxy, after the daemon has accepted the job.
            "submission failed with 500" => return Ok(status(500, None)),
            _ => {}
        }
        let mut state = self.state();
        state.jobs[at].accepted = true;
        let mut response = json(202, format!(r#"{{"job_id":"job-{at}"}}"#));
        if state.supports_idempotency {
            response.headers_mut().insert("idempotency-key", key);
        }
        Ok(response)
    }

    /// Creates a job, unless there is one with that key.
    fn create_job(&self, key: &str, body: Bytes) -> usize {
        let mut state = self.state();
        if let Some(at) = state.jobs.iter().position(|job| job.key == key).filter(|_| state.supports_idempotency) {
            assert_eq!(state.jobs[at].body, body, "one key, two bodies");
            return at;
        }
        let at = state.jobs.len();
        let now = Instant::now();
        let starts = now + millis([0, state.rng.u64(0..10_000)][state.rng.usize(0..2)]);
        let ends = starts + millis([1, state.rng.u64(1..60_000)][state.rng.usize(0..2)]);
        let visible = now + millis([0, 0, state.rng.u64(0..2_500)][state.rng.usize(0..3)]);
        state.log(&format!("job-{at} accepted"));
        let fields: HashMap<String, serde_json::Value> = serde_json::from_slice(&body).unwrap();
        state.jobs.push(Job { key: key.to_owned(), body, starts, ends, visible, accepted: false, reported: 0 });
        if let Some(url) = fields.get("state_webhook_url") {
            self.plan_events(&mut state, at, url.as_str().unwrap());
        }
        at
    }

    async fn poll(&self, path: &str) -> Result<Response<Full<Bytes>>, BoxError> {
        let at: usize = path.strip_prefix("/jobs/job-").unwrap().parse()?;
        let fault = self.draw(20);
        if fault < 4 {
            self.state().note("poll failed");
        }
        match fault {
            0 => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            1 => return Ok(status(500, None)),
            2 => return Ok(status(429, Some(2))),
            3 => sleep(HANG).await,
            _ => {}
        }
        let mut state = self.state();
        let now = Instant::now();
        let job = &state.jobs[at];
        if now < job.visible {
            state.note("poll failed with 404 after the submission");
            return Ok(status(404, None));
        }
        let current = usize::from(now >= job.starts) + usize::from(now >= job.ends);
        state.log(&format!("job-{at} polled: {}", STATES[current]));
        Ok(json(200, status_json(at, current)))
    }
}

impl State {
    fn note(&mut self, fault: &'static str) {
        *self.occurred.entry(fault).or_default() += 1;
        self.log(fault);
    }

    fn log(&mut self, event: &str) {
        self.trace.push(format!("{:?} {event}", self.started.elapsed()));
    }
}

impl Service<Request<Full<Bytes>>> for SimulatedDaemon {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.respond(request).await })
    }
}

fn status_json(at: usize, order: usize) -> String {
    let result = if order == 2 { format!(r#""the result of job-{at}""#) } else { "null".to_owned() };
    let attempt = u8::from(order > 0);
    format!(r#"{{"job_id":"job-{at}","state":"{}","attempt":{attempt},"result":{result}}}"#, STATES[order])
}

fn json(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

fn status(status: u16, retry_after: Option<u64>) -> Response<Full<Bytes>> {
    let mut response = json(status, "{}");
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
