//! Submitters that follow the protocol's rules for retries: plain HTTP, and the client library.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::{BaseUrl, Transport};
use foreman_client::{Client, SubmitRequest};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::prompt::{answer, prompt};
use super::{SECRET, TOKENS};

/// How long a request may take. The daemon answers sooner, unless it is stuck.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of submissions of one key before it counts as never accepted.
const MAX_TRIES: u32 = 600;

/// A job that was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) token: &'static str,
    pub(crate) prompt: String,
    /// The number of the receiver of its webhooks.
    pub(crate) receiver: Option<usize>,
    /// The body to submit again under the same key, if this program made it.
    pub(crate) body: Option<String>,
}

/// What the submitters have seen.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) accepted: Mutex<Vec<Accepted>>,
    /// Promises that were seen to be broken.
    pub(crate) broken: Mutex<Vec<String>>,
    /// Responses 429 and 503.
    pub(crate) rejected: AtomicU64,
    /// Submissions without a response.
    pub(crate) lost: AtomicU64,
    /// Waits of the client library that failed, and were called again.
    pub(crate) waits_again: AtomicU64,
    stopped: AtomicBool,
}

impl Load {
    /// Starts the submitters. They run until [`stop`](Self::stop), and finish the key that they have.
    pub(crate) async fn start(self: &Arc<Self>, url: &str, hooks: &[String], seed: u64) -> JoinSet<()> {
        let mut submitters = JoinSet::new();
        for number in 0..6 {
            let (load, url, hooks) = (Arc::clone(self), url.to_owned(), hooks.to_vec());
            let random = fastrand::Rng::with_seed(seed.wrapping_add(number));
            submitters.spawn(async move { load.submit_plainly(number, &url, &hooks, random).await });
        }
        for number in 0..4 {
            let token = TOKENS[number % TOKENS.len()];
            let builder = Client::builder(url).token(token);
            // The client's webhooks, and polls alone.
            let builder = if number % 2 == 0 { builder.webhook_secret(SECRET) } else { builder.polling() };
            let client = builder.build().await.unwrap();
            let load = Arc::clone(self);
            submitters.spawn(async move { load.submit_by_library(number, &client, token).await });
        }
        submitters
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }

    pub(crate) fn count(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    fn break_promise(&self, what: String) {
        self.broken.lock().unwrap().push(what);
    }

    async fn submit_plainly(&self, number: u64, url: &str, hooks: &[String], mut random: fastrand::Rng) {
        let http = Http::new(url);
        for count in 0_u64.. {
            if self.is_stopped() {
                return;
            }
            let label = format!("plain-{number}-{count}");
            let large = random.u8(..50) == 0;
            let (answer_bytes, prompt_bytes) = match random.bool() {
                true if large => (200_000, 0),
                false if large => (40, 200_000),
                _ => (random.usize(16..2_000), random.usize(..2_000)),
            };
            let prompt = prompt(&label, answer_bytes, prompt_bytes);
            let receiver = Some(random.usize(..hooks.len() + 1)).filter(|receiver| *receiver < hooks.len());
            let body = body(&prompt, receiver.and_then(|receiver| hooks.get(receiver)));
            let token = TOKENS[random.usize(..TOKENS.len())];
            let key = format!("key-{label}");
            match self.submit(&http, token, &key, &body).await {
                Some(id) => {
                    let accepted = Accepted { id, key, token, prompt, receiver, body: Some(body) };
                    self.accepted.lock().unwrap().push(accepted);
                }
                None => return,
            }
            sleep(Duration::from_millis(random.u64(20..180))).await;
        }
    }

    /// Submits until the job is accepted, and returns its id. `None` if it never is.
    pub(crate) async fn submit(&self, http: &Http, token: &str, key: &str, body: &str) -> Option<String> {
        for _ in 0..MAX_TRIES {
            let Some((status, headers, json)) = http.submit(token, key, body).await else {
                self.lost.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            match status {
                StatusCode::ACCEPTED => match json["job_id"].as_str() {
                    Some(id) if headers.get("idempotency-key").is_some_and(|echoed| echoed == key) => {
                        return Some(id.to_owned());
                    }
                    _ => self.break_promise(format!("{key}: 202 without the id or the key: {json}")),
                },
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    self.rejected.fetch_add(1, SeqCst);
                    let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
                    // The schedule is quicker than an hour, so that the pauses are.
                    sleep(Duration::from_secs(after.unwrap_or(1)).min(Duration::from_millis(500))).await;
                    continue;
                }
                _ => self.break_promise(format!("{key}: {status} {json}")),
            }
            return None;
        }
        self.break_promise(format!("{key} is never accepted"));
        None
    }

    async fn submit_by_library(&self, number: usize, client: &Client, token: &'static str) {
        for count in 0.. {
            if self.is_stopped() {
                break;
            }
            let key = format!("key-library-{number}-{count}");
            let prompt = prompt(&key, 100, 0);
            let request = SubmitRequest::builder("m").user(&prompt).idempotency_key(&key).build().unwrap();
            for tries in 1.. {
                match client.submit(request.clone()).await {
                    Ok(result) => {
                        if !result.is_success() || result.content().as_deref() != Some(&*answer(&prompt)) {
                            self.break_promise(format!("{key}: the client has another result: {:?}", result.error()));
                        }
                        let id = result.job_id().to_string();
                        let accepted = Accepted { id, key, token, prompt, receiver: None, body: None };
                        self.accepted.lock().unwrap().push(accepted);
                        break;
                    }
                    Err(error) if tries == MAX_TRIES => {
                        return self.break_promise(format!("{key} never ends: {error}"));
                    }
                    Err(_) => {
                        self.waits_again.fetch_add(1, SeqCst);
                        sleep(Duration::from_millis(200)).await;
                    }
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        client.shutdown(Duration::from_secs(5)).await;
    }
}

pub(crate) fn body(prompt: &str, hook: Option<&String>) -> String {
    // The old store has digests of these bytes.
    let (prompt, hook) = (json!(prompt), json!(hook));
    format!(r#"{{"messages":[{{"content":{prompt},"role":"user"}}],"model":"m","state_webhook_url":{hook}}}"#)
}

/// Plain HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    url: String,
    transport: Transport,
}

impl Http {
    pub(crate) fn new(url: &str) -> Self {
        let base: BaseUrl = url.parse().unwrap();
        Self { url: url.to_owned(), transport: Transport::new(&base).unwrap() }
    }

    /// Submits once. `None` without a response.
    pub(crate) async fn submit(&self, token: &str, key: &str, body: &str) -> Option<(StatusCode, HeaderMap, Value)> {
        let request = Request::post(format!("{}/jobs", self.url))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header("idempotency-key", key)
            .body(Full::from(body.to_owned()))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn job(&self, token: &str, id: &str) -> Option<(StatusCode, HeaderMap, Value)> {
        let request = Request::get(format!("{}/jobs/{id}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Option<(StatusCode, HeaderMap, Value)> {
        let response = async {
            let response = self.transport.clone().oneshot(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some((parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default()))
        };
        timeout(REQUEST_TIMEOUT, response).await.ok().flatten()
    }
}
