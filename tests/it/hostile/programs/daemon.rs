//! Two daemons in memory that do what the program has planned, on paused time.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use foreman_client::{BoxError, DropPolicy};
use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower::Service;

use super::model::{Outcome, World};
use super::program::{JobPlan, PollFault, PollPlan, PostFault, PostPlan};
use crate::support::millis;

pub(super) const URLS: [&str; 2] = ["http://one.test", "http://two.test"];

/// The HTTP client of one of the daemons.
#[derive(Clone)]
pub(super) struct DaemonHttp {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) daemon: usize,
    pub(super) client: usize,
}

/// A job of a daemon. Its id is its number, so that the daemons have jobs of the same ids.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: String,
    /// The text of the conversation.
    pub(super) marker: String,
    pub(super) body: Bytes,
    pub(super) callback: Option<String>,
    pub(super) plan: JobPlan,
    pub(super) starts: Instant,
    pub(super) ends: Instant,
    pub(super) cancelled: bool,
}

impl Job {
    pub(super) fn has_ended(&self) -> bool {
        Instant::now() >= self.ends
    }

    pub(super) fn state(&self) -> &'static str {
        let now = Instant::now();
        match () {
            () if now < self.starts => "queued",
            () if now < self.ends => "running",
            () => self.end(),
        }
    }

    fn end(&self) -> &'static str {
        if self.plan.fails || self.cancelled { "failed" } else { "done" }
    }

    /// A status as polls and events report it. The marker of the conversation is the result, or the reason.
    pub(super) fn json(&self, id: usize, state: &str) -> String {
        let (attempt, marker) = (u8::from(state != "queued"), &self.marker);
        let end = match state {
            "done" => format!(r#","result":{{"message":{{"content":"{marker}"}}}}"#),
            "failed" => format!(r#","error":"{marker}""#),
            _ => String::new(),
        };
        format!(r#"{{"job_id":"{id}","state":"{state}","attempt":{attempt}{end}}}"#)
    }
}

type HttpResponse = Result<Response<Full<Bytes>>, BoxError>;

impl DaemonHttp {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn submit(&self, request: &Request<Full<Bytes>>, body: Bytes) -> BoxFuture<'static, HttpResponse> {
        let key = request.headers()["idempotency-key"].to_str().unwrap().to_owned();
        let plan = self.world().plan_post(self.daemon);
        let attempt = InFlight { http: self.clone(), at: self.world().sent(self, &key) };
        let http = self.clone();
        let arrives = !matches!(
            plan.fault,
            PostFault::Refused
                | PostFault::TooMany { .. }
                | PostFault::Unavailable { .. }
                | PostFault::LostBeforeArrival
                | PostFault::HangsBeforeArrival
        );
        let arrival = {
            let (http, key) = (http.clone(), key.clone());
            async move {
                sleep(millis(plan.before)).await;
                arrives.then(|| http.create_job(&key, body))
            }
        };
        if plan.detached {
            let arrival = tokio::spawn(arrival);
            Box::pin(async move { attempt.respond(plan, arrival.await.unwrap(), &key).await })
        } else {
            Box::pin(async move { attempt.respond(plan, arrival.await, &key).await })
        }
    }

    /// Creates a job, unless there is one with that key.
    fn create_job(&self, key: &str, body: Bytes) -> usize {
        let mut world = self.world();
        let daemon = &mut world.daemons[self.daemon];
        if let Some(id) = daemon.jobs.iter().position(|job| job.key == key).filter(|_| daemon.plan.keys) {
            let same = daemon.jobs[id].body == body;
            world.check(same, || format!("two bodies with one key: {body:?}"));
            return id;
        }
        let fields: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id = daemon.jobs.len();
        let plan = daemon.next_job();
        let starts = Instant::now() + millis(plan.queued);
        let ends = starts + millis(plan.runs);
        let job = Job {
            key: key.to_owned(),
            marker: fields["messages"][0]["content"].as_str().unwrap().to_owned(),
            body,
            callback: fields.get("state_webhook_url").map(|url| url.as_str().unwrap().to_owned()),
            plan,
            starts,
            ends,
            cancelled: false,
        };
        daemon.jobs.push(job);
        world.log(|| format!("daemon {} has job {id}", self.daemon));
        drop(world);
        self.plan_events(id);
        id
    }

    async fn poll(&self, id: usize, plan: PollPlan) -> HttpResponse {
        sleep(millis(plan.delay)).await;
        match plan.fault {
            PollFault::None => {}
            PollFault::Reset => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            PollFault::Status(code) => return Ok(response(code, None, "{}")),
            PollFault::TooMany => return Ok(response(429, Some(2), "{}")),
            PollFault::Hangs => std::future::pending().await,
            PollFault::Nonsense => return Ok(response(200, None, "nonsense")),
        }
        let world = self.world();
        Ok(match world.daemons[self.daemon].jobs.get(id) {
            Some(job) => response(200, None, job.json(id, job.state())),
            None => response(404, None, r#"{"error":"no such job"}"#),
        })
    }

    async fn cancel(&self, id: usize) -> HttpResponse {
        sleep(millis(1)).await;
        let mut world = self.world();
        let Some(job) = world.daemons[self.daemon].jobs.get_mut(id) else { return Ok(response(404, None, "{}")) };
        if job.has_ended() {
            return Ok(response(409, None, "{}"));
        }
        (job.cancelled, job.ends) = (true, Instant::now());
        job.starts = job.starts.min(job.ends);
        let (key, status) = (job.key.clone(), job.json(id, "failed"));
        let caller = world.callers.get(&key);
        let may = caller.is_some_and(|caller| caller.on_drop == DropPolicy::Cancel && caller.holders() == 0);
        let mistaken = world.is_mistaken();
        world.check(may || mistaken, || format!("job {id} is cancelled, but not abandoned or not to be cancelled"));
        Ok(response(200, None, status))
    }
}

impl Service<Request<Full<Bytes>>> for DaemonHttp {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, HttpResponse>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (http, id) = (self.clone(), request.uri().path().rsplit('/').next().unwrap().parse());
        match *request.method() {
            Method::POST => {
                let body = full_body(&request);
                self.submit(&request, body)
            }
            Method::GET => {
                let plan = self.world().plan_poll(self.daemon);
                Box::pin(async move { http.poll(id?, plan).await })
            }
            _ => Box::pin(async move { http.cancel(id?).await }),
        }
    }
}

/// A submission in flight.
struct InFlight {
    http: DaemonHttp,
    at: usize,
}

impl InFlight {
    /// `job`: the job of the submission, if it arrived.
    async fn respond(self, plan: PostPlan, job: Option<usize>, key: &str) -> HttpResponse {
        sleep(millis(plan.after)).await;
        let refusal = match plan.fault {
            PostFault::None => {
                self.settle(Outcome::Accepted);
                let id = job.unwrap();
                let mut accepted = response(202, None, format!(r#"{{"job_id":"{id}"}}"#));
                if self.http.world().daemons[self.http.daemon].plan.keys {
                    accepted.headers_mut().insert("idempotency-key", key.parse()?);
                }
                return Ok(accepted);
            }
            PostFault::LostBeforeArrival => return self.lose(io::ErrorKind::ConnectionReset),
            PostFault::ResponseLost => return self.lose(io::ErrorKind::BrokenPipe),
            PostFault::HangsBeforeArrival | PostFault::ResponseHangs => std::future::pending().await,
            PostFault::BadGateway => {
                self.http.world().counts.lost_responses += 1;
                self.settle(Outcome::Unknown);
                return Ok(response(502, None, "<html>"));
            }
            PostFault::Refused => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
            PostFault::TooMany { retry_after } => Ok(response(429, retry_after, "{}")),
            PostFault::Unavailable { retry_after } => Ok(response(503, retry_after, "{}")),
        };
        let unavailable = plan.fault == (PostFault::Unavailable { retry_after: None });
        if let PostFault::TooMany { retry_after } | PostFault::Unavailable { retry_after } = plan.fault {
            self.http.world().asked_to_pause(self.at, retry_after);
        }
        self.settle(if unavailable { Outcome::Unknown } else { Outcome::Refused });
        refusal
    }

    fn lose(self, kind: io::ErrorKind) -> HttpResponse {
        self.http.world().counts.lost_responses += 1;
        self.settle(Outcome::Unknown);
        Err(io::Error::from(kind).into())
    }

    fn settle(&self, outcome: Outcome) {
        let mut world = self.http.world();
        world.attempts[self.at].outcome = outcome;
        world.log(|| format!("submission {} ends: {outcome:?}", self.at));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut world = self.http.world();
        let attempt = &mut world.attempts[self.at];
        if attempt.outcome == Outcome::Pending {
            attempt.outcome = Outcome::Unknown;
            world.log(|| format!("submission {} is dropped", self.at));
        }
    }
}

fn full_body(request: &Request<Full<Bytes>>) -> Bytes {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;
    request.body().clone().collect().now_or_never().unwrap().unwrap().to_bytes()
}

fn response(status: u16, retry_after: Option<u64>, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).body(Full::new(body.into())).unwrap();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
