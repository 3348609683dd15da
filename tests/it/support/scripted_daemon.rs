use std::io;
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::Call;
use foreman_client::{Api, BoxError, Error};
use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_test::mock::{Handle, Mock, SendResponse};

use super::{ScriptedBody, bounded_paused, job_json};

/// The HTTP client of a [`ScriptedDaemon`].
pub(crate) type MockHttp = Mock<Request<Full<Bytes>>, Response<ScriptedBody>>;
pub(crate) type MockApi = Api<MockHttp>;

type Exchange = (Request<Full<Bytes>>, SendResponse<Response<ScriptedBody>>);

/// The daemon's side of a mock HTTP client. The test takes each request and responds to it, on paused time.
pub(crate) struct ScriptedDaemon {
    handle: Handle<Request<Full<Bytes>>, Response<ScriptedBody>>,
    created: Instant,
}

impl ScriptedDaemon {
    /// A daemon at `http://daemon.test`.
    pub(crate) fn new() -> (MockApi, Self) {
        Self::at("http://daemon.test")
    }

    pub(crate) fn at(base: &str) -> (MockApi, Self) {
        let (http, daemon) = Self::with_http();
        (Api::new(base.parse().unwrap(), http), daemon)
    }

    /// A daemon and its HTTP client, for a test that builds its own `Api`.
    pub(crate) fn with_http() -> (MockHttp, Self) {
        let (http, handle) = tower_test::mock::pair();
        (http, Self { handle, created: Instant::now() })
    }

    /// The time since the daemon was created.
    pub(crate) fn elapsed(&self) -> Duration {
        self.created.elapsed()
    }

    /// The next request of any method.
    pub(crate) async fn next(&mut self) -> ReceivedRequest {
        let next = bounded_paused(self.handle.next_request()).await;
        self.received(next.expect("the client is dropped")).await
    }

    /// The next request that has come by now.
    pub(crate) async fn next_now(&mut self) -> Option<ReceivedRequest> {
        match self.handle.next_request().now_or_never()? {
            Some(next) => Some(self.received(next).await),
            None => None,
        }
    }

    async fn received(&self, (request, response): Exchange) -> ReceivedRequest {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        ReceivedRequest {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            at: self.elapsed(),
            response,
        }
    }

    /// The next request, which must be a submission.
    pub(crate) async fn next_post(&mut self) -> ReceivedRequest {
        let request = self.next().await;
        assert_eq!(request.method, Method::POST, "{request:?}");
        request
    }

    /// The next request, which must be a poll or another GET.
    pub(crate) async fn next_get(&mut self) -> ReceivedRequest {
        let request = self.next().await;
        assert_eq!(request.method, Method::GET, "{request:?}");
        request
    }

    /// The next submission. The connections of polls before it break.
    pub(crate) async fn skip_to_post(&mut self) -> ReceivedRequest {
        loop {
            let request = self.next().await;
            if request.method == Method::POST {
                return request;
            }
        }
    }

    /// The next cancel. The connections of other requests before it break.
    pub(crate) async fn next_cancel(&mut self) -> ReceivedRequest {
        loop {
            let request = self.next().await;
            if request.method == Method::DELETE {
                return request;
            }
        }
    }

    /// Lets `time` pass and fails if a request arrives.
    pub(crate) async fn quiet_for(&mut self, time: Duration) {
        if let Ok(Some((request, _))) = timeout(time, self.handle.next_request()).await {
            panic!("unexpected request after {:?}: {request:?}", self.elapsed());
        }
    }

    /// Runs the other tasks until they wait. No time passes.
    pub(crate) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Makes the client's `poll_ready` pending after that many requests, until the next call of this.
    pub(crate) fn allow(&mut self, requests: u64) {
        self.handle.allow(requests);
    }

    /// Makes the client's next `poll_ready` fail.
    pub(crate) fn fail_ready(&mut self, error: impl Into<BoxError>) {
        self.handle.send_error(error);
    }
}

/// A request without a response so far. Dropping it breaks the connection.
#[derive(Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// [`ScriptedDaemon::elapsed`] on arrival.
    pub(crate) at: Duration,
    response: SendResponse<Response<ScriptedBody>>,
}

impl ReceivedRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The job id in the path.
    pub(crate) fn job(&self) -> String {
        self.uri.path().rsplit('/').next().unwrap().to_owned()
    }

    /// The callback URL of a submission.
    pub(crate) fn callback(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body.get("state_webhook_url").map(|url| url.as_str().unwrap().to_owned())
    }

    pub(crate) fn respond_with(self, response: Response<ScriptedBody>) {
        self.response.send_response(response);
    }

    pub(crate) fn respond(self, status: u16, body: impl Into<ScriptedBody>) {
        self.respond_with(Response::builder().status(status).body(body.into()).unwrap());
    }

    /// `202` of a daemon without idempotency keys.
    pub(crate) fn accept(self, job: &str) {
        self.respond(202, format!(r#"{{"job_id":"{job}"}}"#));
    }

    /// `202` of a daemon with idempotency keys.
    pub(crate) fn accept_with_key(self, job: &str) {
        let key = self.headers["idempotency-key"].clone();
        let body = format!(r#"{{"job_id":"{job}"}}"#);
        self.respond_with(Response::builder().status(202).header("idempotency-key", key).body(body.into()).unwrap());
    }

    /// `200` with the job in that state. The content of a job that is done is "from a poll".
    pub(crate) fn respond_state(self, state: &str) {
        self.respond_state_with(state, &[]);
    }

    /// [`respond_state`](Self::respond_state) with headers.
    pub(crate) fn respond_state_with(self, state: &str, headers: &[(&str, &str)]) {
        let mut response = Response::builder().status(200);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let body = job_json(&self.job(), state, "from a poll");
        self.respond_with(response.body(body.into()).unwrap());
    }

    /// `202` of a cancel.
    pub(crate) fn confirm_cancel(self) {
        let body = format!(r#"{{"job_id":"{}","state":"failed","error":"cancelled"}}"#, self.job());
        self.respond(202, body);
    }

    /// That status, with `Retry-After` in seconds.
    pub(crate) fn refuse(self, status: u16, retry_after: u64) {
        let response = Response::builder().status(status).header("retry-after", retry_after);
        self.respond_with(response.body("".into()).unwrap());
    }

    /// Fails the exchange without a response.
    pub(crate) fn fail(self, kind: io::ErrorKind) {
        self.response.send_error(io::Error::from(kind));
    }

    pub(crate) fn reset(self) {
        self.fail(io::ErrorKind::ConnectionReset);
    }
}

/// Sends one call to a scripted daemon, which handles it with `respond`.
pub(crate) async fn exchange<C: Call>(call: C, respond: impl FnOnce(ReceivedRequest)) -> Result<C::Response, Error> {
    let (api, mut daemon) = ScriptedDaemon::new();
    let serve = async { respond(daemon.next().await) };
    bounded_paused(async { tokio::join!(api.oneshot(call), serve) }).await.0
}
