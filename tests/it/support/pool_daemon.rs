use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::webhook::{Secret, WebhookReceiver};
use foreman_client::{BoxError, Client, ClientBuilder, Notifier};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tower::{Service, ServiceExt as _};

use super::{SECRET, exact_polls, job_json};

/// One of the daemons of a pool, on paused time: it runs one job after another, and each takes as long as the test says.
#[derive(Clone)]
pub(crate) struct PoolDaemon {
    inner: Arc<Inner>,
    /// Gets the events of the jobs that were submitted by this clone.
    receiver: Option<WebhookReceiver>,
}

struct Inner {
    url: String,
    /// What the start of a job of another model than the one before takes in addition.
    load: Duration,
    /// Daemons that share a queue have one.
    state: Arc<Mutex<State>>,
}

struct State {
    /// The only time that a status has.
    created_at: Option<String>,
    time: Duration,
    models: Vec<String>,
    fault: Fault,
    lists_models: bool,
    jobs: HashMap<String, Job>,
    keys: HashMap<String, String>,
    free_at: Instant,
    loaded: Option<String>,
    posts: usize,
    lists: usize,
    loads: usize,
}

struct Job {
    begins: Instant,
    ends: Instant,
}

/// What the daemon does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// No connection.
    Refuse,
    /// Submissions get this status, and `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Submissions are accepted, and their responses are lost.
    LoseResponses,
    /// Submissions get no response.
    Hang,
    /// Every request gets a 401.
    Unauthorized,
    /// The HTTP service panics when the list of models is requested.
    PanicInLists,
}

#[derive(Deserialize)]
struct Submission {
    model: String,
    state_webhook_url: Option<String>,
}

type Http = Response<Full<Bytes>>;

impl PoolDaemon {
    /// `http://{name}.test`, whose jobs take `time`. It lists no models so far, and its list cannot be requested.
    pub(crate) fn new(name: &str, time: Duration) -> Self {
        Self::with_load(name, time, Duration::ZERO)
    }

    pub(crate) fn with_load(name: &str, time: Duration, load: Duration) -> Self {
        let state = State {
            created_at: None,
            time,
            models: Vec::new(),
            fault: Fault::None,
            lists_models: false,
            jobs: HashMap::new(),
            keys: HashMap::new(),
            free_at: Instant::now(),
            loaded: None,
            posts: 0,
            lists: 0,
            loads: 0,
        };
        let inner = Inner { url: format!("http://{name}.test"), load, state: Arc::new(Mutex::new(state)) };
        Self { inner: Arc::new(inner), receiver: None }
    }

    /// Another daemon that shares the queue, the faults and the counts of this one.
    pub(crate) fn sharing_queue(&self, name: &str) -> Self {
        let Inner { load, state, .. } = &*self.inner;
        let inner = Inner { url: format!("http://{name}.test"), load: *load, state: Arc::clone(state) };
        Self { inner: Arc::new(inner), receiver: None }
    }

    /// Its jobs have this `created_at`.
    pub(crate) fn created_at(self, time: &str) -> Self {
        self.state().created_at = Some(time.to_owned());
        self
    }

    pub(crate) fn models(self, models: &[&str]) -> Self {
        self.set_models(models);
        self
    }

    pub(crate) fn set_models(&self, models: &[&str]) {
        let mut state = self.state();
        (state.models, state.lists_models) = (models.iter().map(|model| (*model).to_owned()).collect(), true);
    }

    pub(crate) fn url(&self) -> &str {
        &self.inner.url
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        let polls = exact_polls().build().unwrap();
        Client::builder(self.url()).polling().poll_policy(polls).failure_budget(Duration::from_secs(10))
    }

    /// A client that polls.
    pub(crate) async fn client(&self) -> Client<Self> {
        self.builder().build_with(self.clone()).await.unwrap()
    }

    /// A client whose results come by webhooks, at the moment at which the job ends.
    pub(crate) async fn client_with_webhooks(&self) -> Client<Self> {
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::builder(notifier.clone()).secret(SECRET).build().unwrap();
        let http = Self { receiver: Some(receiver), ..self.clone() };
        let builder = Client::builder(self.url()).notifier(notifier).public_url("http://here.test/foreman");
        builder.build_with(http).await.unwrap()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// How many jobs it has accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.state().jobs.len()
    }

    /// How many submissions have come, whatever their outcome.
    pub(crate) fn posts(&self) -> usize {
        self.state().posts
    }

    /// How often the list of models was requested.
    pub(crate) fn lists(&self) -> usize {
        self.state().lists
    }

    /// How often a model was loaded.
    pub(crate) fn loads(&self) -> usize {
        self.state().loads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    async fn respond(self, request: Request<Full<Bytes>>) -> Result<Http, BoxError> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == "/api/tags" {
            self.state().lists += 1;
        }
        if self.fault() == Fault::Refuse {
            self.state().posts += usize::from(head.method == Method::POST);
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        if self.fault() == Fault::Unauthorized {
            return Ok(response(401, "{}"));
        }
        if path == "/api/tags" {
            assert!(self.fault() != Fault::PanicInLists, "a panic of the HTTP service");
            return Ok(self.list());
        }
        if let (&Method::GET, Some(job)) = (&head.method, path.strip_prefix("/jobs/")) {
            return Ok(self.poll(job));
        }
        if head.method != Method::POST {
            return Ok(response(405, "{}"));
        }
        let key = head.headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned()).unwrap_or_default();
        let submission: Submission = serde_json::from_slice(&body.collect().await?.to_bytes())?;
        self.state().posts += 1;
        match self.fault() {
            Fault::Status(status, retry_after) => {
                let mut refusal = response(status, r#"{"error":"refused"}"#);
                if let Some(seconds) = retry_after {
                    refusal.headers_mut().insert("retry-after", seconds.into());
                }
                return Ok(refusal);
            }
            Fault::LoseResponses => {
                self.accept(&key, submission);
                return Err(io::Error::from(io::ErrorKind::ConnectionReset).into());
            }
            Fault::Hang => std::future::pending().await,
            Fault::None | Fault::Refuse | Fault::Unauthorized | Fault::PanicInLists => {}
        }
        let job = self.accept(&key, submission);
        let mut accepted = response(202, format!(r#"{{"job_id":"{job}"}}"#));
        accepted.headers_mut().insert("idempotency-key", key.parse()?);
        Ok(accepted)
    }

    fn fault(&self) -> Fault {
        self.state().fault
    }

    fn list(&self) -> Http {
        let state = self.state();
        if !state.lists_models {
            return response(502, r#"{"error":"the backend does not list its models"}"#);
        }
        let models: Vec<_> = state.models.iter().map(|model| format!(r#"{{"name":"{model}"}}"#)).collect();
        response(200, format!(r#"{{"models":[{}]}}"#, models.join(",")))
    }

    fn poll(&self, job: &str) -> Http {
        let (state, now) = (self.state(), Instant::now());
        match state.jobs.get(job) {
            None => response(404, "{}"),
            Some(Job { begins, .. }) if now < *begins => response(200, state.status(job, "queued", "")),
            Some(Job { ends, .. }) if now < *ends => response(200, state.status(job, "running", "")),
            Some(_) => response(200, state.status(job, "done", &self.inner.url)),
        }
    }

    fn accept(&self, key: &str, submission: Submission) -> String {
        let mut state = self.state();
        if let Some(job) = state.keys.get(key) {
            return job.clone();
        }
        // Ids of one daemon mean another job at the next one.
        let job = (state.jobs.len() + 1).to_string();
        let begins = state.free_at.max(Instant::now());
        let cold = state.loaded.as_deref() != Some(&submission.model);
        let ends = begins + state.time + if cold { self.inner.load } else { Duration::ZERO };
        state.loads += usize::from(cold);
        (state.free_at, state.loaded) = (ends, Some(submission.model));
        state.jobs.insert(job.clone(), Job { begins, ends });
        state.keys.insert(key.to_owned(), job.clone());
        if let (Some(receiver), Some(url)) = (self.receiver.clone(), submission.state_webhook_url) {
            let body = job_json(&job, "done", &self.inner.url);
            tokio::spawn(async move {
                sleep_until(ends).await;
                let signature = Secret::new(SECRET).unwrap().sign(body.as_bytes());
                let event = Request::post(url)
                    .header("x-foreman-signature", signature)
                    .body(Full::<Bytes>::from(body))
                    .unwrap();
                assert!(receiver.oneshot(event).await.unwrap().status().is_success());
            });
        }
        job
    }
}

impl State {
    fn status(&self, job: &str, state: &str, content: &str) -> String {
        let status = job_json(job, state, content);
        match &self.created_at {
            Some(time) => status.replacen('{', &format!(r#"{{"created_at":"{time}","#), 1),
            None => status,
        }
    }
}

impl Service<Request<Full<Bytes>>> for PoolDaemon {
    type Response = Http;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Http, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().respond(request))
    }
}

fn response(status: u16, body: impl Into<Bytes>) -> Http {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}
