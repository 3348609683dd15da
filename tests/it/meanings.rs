//! Each row of the tables in `foreman_client::error`, brought about through the public API.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::{CancelJob, GetJob};
use foreman_client::{Api, BoxError, Client, Error, JobId, JobResult, Notifier, SubmitRequest};
use http::{Method, Request, Response};
use http_body_util::Full;
use tonic::Code;
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

/// What nobody behind a gateway needs to know.
pub(crate) const DAEMON: &str = "daemon.internal:8080";

/// What is answered to an error.
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) error: Error,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) code: Code,
    pub(crate) detail: Option<&'static str>,
    pub(crate) job: Job,
}

/// What is known of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: Option<&'static str>,
    pub(crate) last_state: Option<&'static str>,
    pub(crate) may_be_running: bool,
}

impl Row {
    fn new(what: &'static str, error: Error, status: u16, code: Code) -> Self {
        Self { what, error, status, retry_after: None, code, detail: None, job: Job::default() }
    }

    fn after(mut self, seconds: u64) -> Self {
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

/// What a daemon does with a request.
#[derive(Clone, Copy)]
enum Does {
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    /// The connection fails so.
    Fail(io::ErrorKind),
    Nothing,
}

use Does::{Answer, Fail, Nothing};

const NO: &str = r#"{"error":"it is so"}"#;
const TAKEN: Does = Answer(202, &[], r#"{"job_id":"7"}"#);
const RUNNING: Does = Answer(200, &[], r#"{"job_id":"7","state":"running"}"#);
const SOON: &[(&str, &str)] = &[("retry-after", "7")];

type Http = tower::util::BoxCloneService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

/// A daemon that does this with submissions, and that with all else.
fn http(submission: Does, other: Does) -> Http {
    Http::new(service_fn(move |request: Request<Full<Bytes>>| async move {
        match if request.method() == Method::POST { submission } else { other } {
            Answer(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(*name, *value);
                }
                Ok(response.body(Full::from(body))?)
            }
            Fail(kind) => Err(io::Error::new(kind, format!("no way to {DAEMON}")).into()),
            Nothing => pending().await,
        }
    }))
}

fn request() -> SubmitRequest {
    SubmitRequest::builder("m").user("hi").build().unwrap()
}

async fn client(submission: Does, other: Does) -> Client<Http> {
    Client::builder(format!("http://{DAEMON}")).polling().build_with(http(submission, other)).await.unwrap()
}

async fn submit(submission: Does, other: Does) -> Error {
    client(submission, other).await.submit(request()).await.and_then(JobResult::into_success).unwrap_err()
}

/// One exchange.
async fn ask(does: Does) -> Error {
    let api = Api::new(format!("http://{DAEMON}").parse().unwrap(), http(does, does));
    api.oneshot(GetJob::new(id())).await.unwrap_err()
}

async fn cancel(does: Does) -> Error {
    let api = Api::new(format!("http://{DAEMON}").parse().unwrap(), http(does, does));
    api.oneshot(CancelJob(id())).await.unwrap_err()
}

/// Of a client that hears of events at a notifier.
async fn pushed(notifier: Notifier, does: Does) -> Error {
    let builder = Client::builder(format!("http://{DAEMON}")).notifier(notifier);
    let client = builder.public_url("http://gateway.example/foreman").build_with(http(does, does)).await.unwrap();
    client.submit(request()).await.unwrap_err()
}

/// Out of the box that a layer puts it in.
async fn boxed<S: Service<(), Error = BoxError, Response = ()>>(service: S) -> Error {
    Error::from_boxed(service.oneshot(()).await.unwrap_err())
}

fn id() -> JobId {
    JobId::new("7").unwrap()
}

/// All rows. They need a paused clock.
pub(crate) async fn rows() -> Vec<Row> {
    let never = || service_fn(|()| pending::<Result<(), BoxError>>());
    let second = Duration::from_secs(1);
    let deadline = client(TAKEN, RUNNING).await.jobs().with_deadline(Some(second)).oneshot(request()).await;
    let elapsed = boxed(ServiceBuilder::new().timeout(second).service(never())).await;
    let shed = boxed(ServiceBuilder::new().load_shed().concurrency_limit(0).service(never())).await;
    let unknown = Error::from_boxed("some other service".into());
    let invalid = SubmitRequest::builder("").build().unwrap_err();
    let failed = Answer(200, &[], r#"{"job_id":"7","state":"failed","error":"out of memory"}"#);
    let moved = Answer(302, &[("location", "http://daemon.internal:8080/login")], "");
    let refused = Fail(io::ErrorKind::ConnectionRefused);
    let reset = Fail(io::ErrorKind::ConnectionReset);

    vec![
        // The request.
        Row::new("invalid", invalid, 400, Code::InvalidArgument).detail("model: must not be empty"),
        Row::new("400", submit(Answer(400, &[], NO), RUNNING).await, 400, Code::InvalidArgument).detail("it is so"),
        Row::new("422", submit(Answer(422, &[], NO), RUNNING).await, 422, Code::InvalidArgument).detail("it is so"),
        Row::new("413", submit(Answer(413, &[], ""), RUNNING).await, 422, Code::InvalidArgument),
        // The job.
        Row::new("404", ask(Answer(404, &[], NO)).await, 404, Code::NotFound),
        Row::new("410", ask(Answer(410, &[], NO)).await, 404, Code::NotFound),
        Row::new("gone", submit(TAKEN, Answer(404, &[], NO)).await, 404, Code::NotFound).job("7", None, false),
        Row::new("409", cancel(Answer(409, &[], NO)).await, 409, Code::FailedPrecondition),
        Row::new("failed", submit(TAKEN, failed).await, 502, Code::Aborted)
            .job("7", Some("failed"), false)
            .detail("out of memory"),
        // Too much of it.
        Row::new("429", submit(Answer(429, &[], NO), RUNNING).await, 429, Code::ResourceExhausted).after(1),
        Row::new("429, 7 s", submit(Answer(429, SOON, NO), RUNNING).await, 429, Code::ResourceExhausted).after(7),
        Row::new("503, 7 s", submit(Answer(503, SOON, NO), RUNNING).await, 503, Code::Unavailable).after(7),
        Row::new("shed", shed, 503, Code::Unavailable).after(1),
        Row::new("capacity", pushed(Notifier::with_capacity(0), TAKEN).await, 503, Code::Unavailable).after(1),
        // The time.
        Row::new("deadline", deadline.unwrap_err(), 504, Code::DeadlineExceeded).job("7", Some("running"), true),
        Row::new("elapsed", elapsed, 504, Code::DeadlineExceeded),
        Row::new("no answer", ask(Nothing).await, 504, Code::DeadlineExceeded),
        // The daemon.
        Row::new("cannot", cancel(Answer(405, &[], "")).await, 501, Code::Unimplemented),
        Row::new("refused", submit(refused, RUNNING).await, 502, Code::Unavailable),
        Row::new("reset", submit(reset, RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("lost", pushed(Notifier::new(), reset).await, 502, Code::Unknown).may_be_running(),
        Row::new("500", submit(Answer(500, &[], NO), RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("503", submit(Answer(503, &[], NO), RUNNING).await, 502, Code::Unknown).may_be_running(),
        Row::new("500, 7 s", ask(Answer(500, SOON, NO)).await, 502, Code::Unknown).after(7),
        Row::new("408", ask(Answer(408, &[], NO)).await, 502, Code::Unknown),
        Row::new("302", submit(moved, RUNNING).await, 502, Code::Unknown),
        Row::new("401", submit(Answer(401, &[], NO), RUNNING).await, 502, Code::Unknown),
        Row::new("403", submit(TAKEN, Answer(403, &[], NO)).await, 502, Code::Unknown).job("7", None, true),
        Row::new("nonsense", ask(Answer(200, &[], "<html>")).await, 502, Code::Unknown),
        Row::new("unknown", unknown, 502, Code::Unknown),
        // What could be repeated if there were no job: whoever repeated it would have another one.
        Row::new("refused later", submit(TAKEN, refused).await, 502, Code::Unknown).job("7", None, true),
        Row::new("503 later, 7 s", submit(TAKEN, Answer(503, SOON, NO)).await, 502, Code::Unknown)
            .after(7)
            .job("7", None, true),
        Row::new("429 later", submit(TAKEN, Answer(429, &[], NO)).await, 502, Code::Unknown).job("7", None, true),
    ]
}
