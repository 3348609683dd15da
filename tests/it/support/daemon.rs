use std::io;
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::Call;
use foreman_client::{Api, Error};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_test::mock::{Handle, Mock, SendResponse};

use super::AnswerBody;

/// The HTTP client's test double.
pub(crate) type Http = Mock<Request<Full<Bytes>>, Response<AnswerBody>>;
pub(crate) type TestApi = Api<Http>;

/// Longer than anything here waits for, in paused time: a test that would hang fails instead.
pub(crate) const NEVER: Duration = Duration::from_secs(10_000_000);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The daemon's side of the mock.
pub(crate) struct Daemon {
    handle: Handle<Request<Full<Bytes>>, Response<AnswerBody>>,
    begin: Instant,
}

impl Daemon {
    /// A daemon at `http://daemon.test`.
    pub(crate) fn new() -> (TestApi, Self) {
        Self::at("http://daemon.test")
    }

    pub(crate) fn at(base: &str) -> (TestApi, Self) {
        let (http, handle) = tower_test::mock::pair();
        (Api::new(base.parse().unwrap(), http), Self::of(handle))
    }

    /// The daemon's side of a mock that the test puts into a stack of its own.
    pub(crate) fn of(handle: Handle<Request<Full<Bytes>>, Response<AnswerBody>>) -> Self {
        Self { handle, begin: Instant::now() }
    }

    /// The time since it was made.
    pub(crate) fn clock(&self) -> Duration {
        self.begin.elapsed()
    }

    /// The next request, whatever it is.
    pub(crate) async fn next(&mut self) -> Asked {
        let next = timeout(NEVER, self.handle.next_request()).await;
        let (request, answer) = next.expect("no request came").expect("nobody can ask any more");
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Asked { method: head.method, uri: head.uri, headers: head.headers, body, at: self.clock(), answer }
    }

    pub(crate) async fn post(&mut self) -> Asked {
        let asked = self.next().await;
        assert_eq!(asked.method, Method::POST, "{asked:?}");
        asked
    }

    pub(crate) async fn get(&mut self) -> Asked {
        let asked = self.next().await;
        assert_eq!(asked.method, Method::GET, "{asked:?}");
        asked
    }

    /// The next submission; polls before it get no answer.
    pub(crate) async fn next_post(&mut self) -> Asked {
        loop {
            let asked = self.next().await;
            if asked.method == Method::POST {
                return asked;
            }
        }
    }

    /// Lets time pass in which no request may come.
    pub(crate) async fn quiet_for(&mut self, time: Duration) {
        if let Ok(Some((request, _))) = timeout(time, self.handle.next_request()).await {
            panic!("unexpected after {:?}: {request:?}", self.clock());
        }
    }

    /// Lets all others go on for as long as they have something to do at this moment.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// How many requests the client may send until the next call of this.
    pub(crate) fn allow(&mut self, requests: u64) {
        self.handle.allow(requests);
    }

    /// The client's `poll_ready` fails once.
    pub(crate) fn not_ready(&mut self, error: impl Into<foreman_client::BoxError>) {
        self.handle.send_error(error);
    }
}

/// A request that the daemon got and has not answered. Dropping it breaks the connection.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The daemon's clock when it came.
    pub(crate) at: Duration,
    answer: SendResponse<Response<AnswerBody>>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The job's id in the path.
    pub(crate) fn job(&self) -> String {
        self.uri.path().rsplit('/').next().unwrap().to_owned()
    }

    /// Where the events of the submission are to be sent.
    pub(crate) fn callback(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body.get("state_webhook_url").map(|url| url.as_str().unwrap().to_owned())
    }

    pub(crate) fn respond(self, response: Response<AnswerBody>) {
        self.answer.send_response(response);
    }

    pub(crate) fn answer(self, status: u16, body: impl Into<AnswerBody>) {
        self.respond(Response::builder().status(status).body(body.into()).unwrap());
    }

    /// `202`, from a daemon that knows nothing of keys.
    pub(crate) fn accept(self, job: &str) {
        self.answer(202, format!(r#"{{"job_id":"{job}"}}"#));
    }

    /// `202`, from a daemon that keeps keys.
    pub(crate) fn accept_with_key(self, job: &str) {
        let key = self.headers["idempotency-key"].clone();
        let body = format!(r#"{{"job_id":"{job}"}}"#);
        self.respond(Response::builder().status(202).header("idempotency-key", key).body(body.into()).unwrap());
    }

    /// `200` with the job in that state; done with a result.
    pub(crate) fn tell(self, state: &str) {
        let body = told(&self.job(), state);
        self.answer(200, body);
    }

    /// The same, with headers.
    pub(crate) fn tell_with(self, state: &str, headers: &[(&str, &str)]) {
        let mut response = Response::builder().status(200);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let body = told(&self.job(), state);
        self.respond(response.body(body.into()).unwrap());
    }

    /// No answer but an error of the connection.
    pub(crate) fn fail(self, kind: io::ErrorKind) {
        self.answer.send_error(io::Error::from(kind));
    }

    pub(crate) fn reset(self) {
        self.fail(io::ErrorKind::ConnectionReset);
    }
}

/// A job's JSON as polls tell it: what they say is distinguishable from what events say.
fn told(job: &str, state: &str) -> String {
    let attempt = u8::from(state != "queued");
    let result = if state == "done" { r#"{"message":{"content":"told by a poll"}}"# } else { "null" };
    format!(r#"{{"job_id":"{job}","state":"{state}","attempt":{attempt},"result":{result}}}"#)
}

/// One call by an [`Api`], and what the daemon does with it.
pub(crate) async fn exchange<C: Call>(call: C, answer: impl FnOnce(Asked)) -> Result<C::Response, Error> {
    let (api, mut daemon) = Daemon::new();
    let served = async { answer(daemon.next().await) };
    tokio::join!(api.oneshot(call), served).0
}
