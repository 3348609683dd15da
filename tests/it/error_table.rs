//! The rows of the tables in `foreman_client::error`. Each error is produced through the public API.

use std::future::pending;
use std::io;

use foreman_client::api::{CancelJob, GetJob};
use foreman_client::{Api, BoxError, Client, Error, JobResult, Notifier, Pool, SubmitRequest};
use http::Method;
use tonic::Code;
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

use crate::support::{Exchange, Fault, FunctionHttp, PoolDaemon, function_http, job_id, request, seconds};

/// The daemon's address. No response to a caller may contain it.
pub(crate) const DAEMON: &str = "daemon.internal:8080";

/// An error and the response that a server sends for it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) error: Error,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) code: Code,
    pub(crate) detail: Option<&'static str>,
    pub(crate) job: Job,
}

/// The members about the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: Option<&'static str>,
    pub(crate) last_state: Option<&'static str>,
    pub(crate) may_be_running: bool,
}

impl Row {
    fn new(name: &'static str, error: Error, status: u16, code: Code) -> Self {
        Self { name, error, status, retry_after: None, code, detail: None, job: Job::default() }
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }

    fn job(mut self, id: &'static str, last_state: Option<&'static str>, may_be_running: bool) -> Self {
        self.job = Job { id: Some(id), last_state, may_be_running };
        self
    }

    fn may_be_running(mut self) -> Self {
        self.job.may_be_running = true;
        self
    }
}

/// How an exchange with the daemon ends.
#[derive(Clone, Copy)]
enum Outcome {
    Respond(u16, &'static [(&'static str, &'static str)], &'static str),
    Fail(io::ErrorKind),
    NoResponse,
}

use Outcome::{Fail, NoResponse, Respond};

const REASON: &str = r#"{"error":"the reason"}"#;
const ACCEPTED: Outcome = Respond(202, &[], r#"{"job_id":"7"}"#);
const RUNNING: Outcome = Respond(200, &[], r#"{"job_id":"7","state":"running"}"#);
const RETRY_AFTER: &[(&str, &str)] = &[("retry-after", "7")];

/// A daemon with one outcome for submissions and one for all other requests.
fn http(submission: Outcome, other: Outcome) -> FunctionHttp {
    function_http(move |request| match if request.method() == Method::POST { submission } else { other } {
        Respond(status, headers, body) => Exchange::response(status, headers, body),
        Fail(kind) => Exchange::Fail(io::Error::new(kind, format!("no route to {DAEMON}"))),
        NoResponse => Exchange::NoResponse,
    })
}

async fn client(submission: Outcome, other: Outcome) -> Client<FunctionHttp> {
    Client::builder(format!("http://{DAEMON}")).polling().build_with(http(submission, other)).await.unwrap()
}

async fn submit(submission: Outcome, other: Outcome) -> Error {
    client(submission, other).await.submit(request()).await.and_then(JobResult::into_success).unwrap_err()
}

/// The error of one poll.
async fn exchange(outcome: Outcome) -> Error {
    let api = Api::new(format!("http://{DAEMON}").parse().unwrap(), http(outcome, outcome));
    api.oneshot(GetJob::new(job_id("7"))).await.unwrap_err()
}

async fn cancel(outcome: Outcome) -> Error {
    let api = Api::new(format!("http://{DAEMON}").parse().unwrap(), http(outcome, outcome));
    api.oneshot(CancelJob(job_id("7"))).await.unwrap_err()
}

/// The error of a submission with webhooks.
async fn submit_with_webhooks(notifier: Notifier, outcome: Outcome) -> Error {
    let builder = Client::builder(format!("http://{DAEMON}")).notifier(notifier);
    let client = builder.public_url("http://gateway.example/foreman").build_with(http(outcome, outcome)).await.unwrap();
    client.submit(request()).await.unwrap_err()
}

/// The error of a pool whose daemon cannot be reached.
async fn call_pool(request: SubmitRequest) -> Error {
    let daemon = PoolDaemon::new("pool", seconds(1));
    daemon.set_fault(Fault::Refuse);
    let mut pool = Pool::from_clients([daemon.client().await]).unwrap();
    while pool.stats().daemons[0].is_available {
        tokio::task::yield_now().await;
    }
    pool.call(request).await.unwrap_err()
}

/// A request that a daemon outside of the pool has accepted.
async fn accepted_elsewhere() -> SubmitRequest {
    let (client, request) = (client(ACCEPTED, RUNNING).await, request());
    let _ = tokio::time::timeout(seconds(1), client.submit(request.clone())).await;
    request
}

/// The error of a layer that boxes errors.
async fn boxed_error<S: Service<(), Error = BoxError, Response = ()>>(service: S) -> Error {
    Error::from_boxed(service.oneshot(()).await.unwrap_err())
}

/// The error of a submission while, or after, the client shuts down.
async fn shut_down(after: bool) -> Error {
    let client = client(ACCEPTED, RUNNING).await;
    let submit = client.submit(request());
    if after {
        client.shutdown(seconds(0)).await;
        return submit.await.unwrap_err();
    }
    tokio::join!(submit, client.shutdown(seconds(1))).0.unwrap_err()
}

/// All rows. The clock must be paused.
pub(crate) async fn rows() -> Vec<Row> {
    let never = || service_fn(|()| pending::<Result<(), BoxError>>());
    let deadline = client(ACCEPTED, RUNNING).await.jobs().with_deadline(Some(seconds(1))).oneshot(request()).await;
    let elapsed = boxed_error(ServiceBuilder::new().timeout(seconds(1)).service(never())).await;
    let shed = boxed_error(ServiceBuilder::new().load_shed().concurrency_limit(0).service(never())).await;
    let unknown = Error::from_boxed("some other service".into());
    let invalid = SubmitRequest::builder("").build().unwrap_err();
    let failed = Respond(200, &[], r#"{"job_id":"7","state":"failed","error":"out of memory"}"#);
    let moved = Respond(302, &[("location", "http://daemon.internal:8080/login")], "");
    let refused = Fail(io::ErrorKind::ConnectionRefused);
    let reset = Fail(io::ErrorKind::ConnectionReset);

    vec![
        Row::new("shutting down", shut_down(true).await, 503, Code::Unavailable).retry_after(1),
        Row::new("shutting down with a job", shut_down(false).await, 504, Code::Cancelled).job(
            "7",
            Some("running"),
            true,
        ),
        // The request.
        Row::new("invalid", invalid, 400, Code::InvalidArgument).detail("model: must not be empty"),
        Row::new("400", submit(Respond(400, &[], REASON), RUNNING).await, 400, Code::InvalidArgument)
            .detail("the reason"),
        Row::new("422", submit(Respond(422, &[], REASON), RUNNING).await, 422, Code::InvalidArgument)
            .detail("the reason"),
        Row::new("413", submit(Respond(413, &[], ""), RUNNING).await, 422, Code::InvalidArgument),
        // The job.
        Row::new("404", exchange(Respond(404, &[], REASON)).await, 404, Code::NotFound),
        Row::new("410", exchange(Respond(410, &[], REASON)).await, 404, Code::NotFound),
        Row::new("gone", submit(ACCEPTED, Respond(404, &[], REASON)).await, 404, Code::NotFound).job("7", None, false),
        Row::new("409", cancel(Respond(409, &[], REASON)).await, 409, Code::FailedPrecondition),
        Row::new("failed", submit(ACCEPTED, failed).await, 502, Code::Aborted)
            .job("7", Some("failed"), false)
            .detail("out of memory"),
        // Load.
        Row::new("429", submit(Respond(429, &[], REASON), RUNNING).await, 429, Code::ResourceExhausted).retry_after(1),
        Row::new("429, 7 s", submit(Respond(429, RETRY_AFTER, REASON), RUNNING).await, 429, Code::ResourceExhausted)
            .retry_after(7),
        Row::new("503, 7 s", submit(Respond(503, RETRY_AFTER, REASON), RUNNING).await, 503, Code::Unavailable)
            .retry_after(7),
        Row::new("shed", shed, 503, Code::Unavailable).retry_after(1),
        Row::new("capacity", submit_with_webhooks(Notifier::with_capacity(0), ACCEPTED).await, 503, Code::Unavailable)
            .retry_after(1),
        Row::new("no daemon", call_pool(request()).await, 503, Code::Unavailable).retry_after(1),
        // Time.
        Row::new("deadline", deadline.unwrap_err(), 504, Code::DeadlineExceeded).job("7", Some("running"), true),
        Row::new("elapsed", elapsed, 504, Code::DeadlineExceeded).may_be_running(),
        Row::new("no response", exchange(NoResponse).await, 504, Code::DeadlineExceeded),
        // The daemon.
        Row::new("cannot", cancel(Respond(405, &[], "")).await, 501, Code::Unimplemented),
        Row::new("refused", submit(refused, RUNNING).await, 502, Code::Unavailable),
        Row::new("reset", submit(reset, RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("lost", submit_with_webhooks(Notifier::new(), reset).await, 502, Code::Unknown).may_be_running(),
        Row::new("500", submit(Respond(500, &[], REASON), RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("503", submit(Respond(503, &[], REASON), RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("500, 7 s", exchange(Respond(500, RETRY_AFTER, REASON)).await, 502, Code::Unknown).retry_after(7),
        Row::new("408", exchange(Respond(408, &[], REASON)).await, 502, Code::Unknown),
        Row::new("302", submit(moved, RUNNING).await, 502, Code::Unknown),
        Row::new("401", submit(Respond(401, &[], REASON), RUNNING).await, 502, Code::Unknown),
        Row::new("403", submit(ACCEPTED, Respond(403, &[], REASON)).await, 502, Code::Unknown).job("7", None, true),
        Row::new("not JSON", exchange(Respond(200, &[], "<html>")).await, 502, Code::Unknown),
        Row::new("unknown", unknown, 502, Code::Unknown).may_be_running(),
        Row::new("not in the pool", call_pool(accepted_elsewhere().await).await, 502, Code::Unknown).job(
            "7",
            Some("running"),
            true,
        ),
        // Errors that invite a repeat before there is a job. After that, a repeat would run another job.
        Row::new("refused later", submit(ACCEPTED, refused).await, 502, Code::Unknown).job("7", None, true),
        Row::new("503 later, 7 s", submit(ACCEPTED, Respond(503, RETRY_AFTER, REASON)).await, 502, Code::Unknown)
            .retry_after(7)
            .job("7", None, true),
        Row::new("429 later", submit(ACCEPTED, Respond(429, &[], REASON)).await, 502, Code::Unknown)
            .job("7", None, true),
    ]
}
