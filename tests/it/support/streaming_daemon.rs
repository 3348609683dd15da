use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::client::ClientBuilder;
use foreman_client::{BoxError, Client};
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};
use tower::Service;

use super::job_json;

/// A daemon in memory with an event stream that the test writes, on paused time. Jobs are named `1`, `2` and so on, and are in the
/// state that the test has set last.
#[derive(Clone)]
pub(crate) struct StreamingDaemon(Arc<Mutex<State>>);

struct State {
    start: Instant,
    jobs: HashMap<String, String>,
    /// The bodies of the submissions.
    submissions: Vec<serde_json::Value>,
    /// The job of each poll, and the second at which it came.
    polls: Vec<(String, u64)>,
    /// The `Last-Event-ID` of each attempt to open the stream, and the second at which it came.
    opened: Vec<(Option<String>, u64)>,
    /// The status of the next attempts.
    status: u16,
    /// What a stream begins with.
    greeting: String,
    /// What the stream carries before the response to each submission.
    before_response: Option<String>,
    stream: Option<UnboundedSender<String>>,
}

impl StreamingDaemon {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            start: Instant::now(),
            jobs: HashMap::new(),
            submissions: Vec::new(),
            polls: Vec::new(),
            opened: Vec::new(),
            status: 200,
            greeting: "id: 0\n\n".to_owned(),
            before_response: None,
            stream: None,
        })))
    }

    pub(crate) async fn client(&self) -> Client<Self> {
        self.client_of(Client::builder("http://daemon.test").polling()).await
    }

    pub(crate) async fn client_of(&self, builder: ClientBuilder) -> Client<Self> {
        builder.build_with(self.clone()).await.unwrap()
    }

    /// The state of a job from now on.
    pub(crate) fn set(&self, job: &str, state: &str) {
        self.state().jobs.insert(job.to_owned(), job_json(job, state, "from a poll"));
    }

    /// The same, with an event.
    pub(crate) fn event(&self, job: &str, state: &str) {
        self.set(job, state);
        self.send(&event(job, state));
    }

    /// Sends a part of the stream.
    pub(crate) fn send(&self, text: &str) {
        self.state().stream.as_ref().unwrap().send(text.to_owned()).unwrap();
    }

    /// Keeps the stream open for that time with a comment each 15 s.
    pub(crate) async fn idle(&self, seconds: u64) {
        for at in 0..seconds {
            if at % 15 == 0 && self.is_open() {
                self.send(":\n\n");
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ends the stream.
    pub(crate) fn cut(&self) {
        self.state().stream = None;
    }

    /// Whether the client holds the stream open.
    pub(crate) fn is_open(&self) -> bool {
        self.state().stream.as_ref().is_some_and(|stream| !stream.is_closed())
    }

    pub(crate) fn respond_with(&self, status: u16) {
        self.state().status = status;
    }

    pub(crate) fn greet_with(&self, greeting: &str) {
        self.state().greeting = greeting.to_owned();
    }

    pub(crate) fn send_before_response(&self, text: impl Into<Option<String>>) {
        self.state().before_response = text.into();
    }

    /// The polls since the last call.
    pub(crate) fn take_polls(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.state().polls)
    }

    /// The attempts to open the stream since the last call.
    pub(crate) fn take_opened(&self) -> Vec<(Option<String>, u64)> {
        std::mem::take(&mut self.state().opened)
    }

    pub(crate) fn submissions(&self) -> Vec<serde_json::Value> {
        self.state().submissions.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// An event of a job. A job that is done has the content "from an event".
pub(crate) fn event(job: &str, state: &str) -> String {
    let data = job_json(job, state, "from an event");
    format!("id: {job}-{state}\nevent: job\ndata: {data}\n\n")
}

impl State {
    fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    fn respond(&mut self, request: &Request<Full<Bytes>>, body: &[u8]) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
        let full = |status: u16, body: String| {
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
            Response::builder().status(status).body(body).unwrap()
        };
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/jobs") => {
                self.submissions.push(serde_json::from_slice(body).unwrap());
                let job = self.submissions.len().to_string();
                self.jobs.entry(job.clone()).or_insert_with(|| job_json(&job, "queued", ""));
                if let (Some(stream), Some(text)) = (&self.stream, &self.before_response) {
                    stream.send(text.clone()).unwrap();
                }
                full(202, format!(r#"{{"job_id":"{job}"}}"#))
            }
            (_, "/events") => {
                let last_id = request.headers().get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
                self.opened.push((last_id, self.now()));
                if self.status != 200 {
                    return full(self.status, String::new());
                }
                assert_eq!(request.headers()["accept"], "text/event-stream");
                let (sender, receiver) = unbounded_channel();
                sender.send(self.greeting.clone()).unwrap();
                self.stream = Some(sender);
                let frames = stream::unfold(receiver, |mut receiver| async move {
                    let text: String = receiver.recv().await?;
                    Some((Ok(Frame::data(Bytes::from(text))), receiver))
                });
                let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
                response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
            }
            (_, path) => {
                let job = path.strip_prefix("/jobs/").unwrap_or_default().to_owned();
                self.polls.push((job.clone(), self.now()));
                match self.jobs.get(&job) {
                    Some(json) => full(200, json.clone()),
                    None => full(404, String::new()),
                }
            }
        }
    }
}

impl Service<Request<Full<Bytes>>> for StreamingDaemon {
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let body = futures_util::FutureExt::now_or_never(request.body().clone().collect()).unwrap().unwrap();
        ready(Ok(self.state().respond(&request, &body.to_bytes())))
    }
}

/// Longer than a message takes to reach a wait, and shorter than any pause.
pub(crate) const SOON: Duration = Duration::from_millis(1);
