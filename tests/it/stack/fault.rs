//! An HTTP service below the client that fails as it is told to, and counts what passes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use foreman_client::BoxError;
use foreman_client::api::HttpService;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tokio::sync::Semaphore;
use tower::Service;

/// What becomes of one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing goes wrong.
    None,
    /// The daemon gets it, and the connection breaks before its answer comes.
    LoseAnswer,
    /// There is nobody to connect to.
    Refuse,
    /// The connection breaks before the daemon gets it, which the client cannot know.
    Reset,
    /// Something in front of the daemon answers with this status, and perhaps with `Retry-After`.
    Answer(u16, Option<u64>),
    /// The daemon does not get it, and no answer comes.
    Hang,
    /// The daemon gets it, and the answer is held until [`Faults::release`].
    Hold,
    /// The daemon gets it, and no answer comes.
    Swallow,
}

/// The faults to come, and what was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    /// Requests that the daemon has answered, whatever became of the answer.
    answered: Semaphore,
    released: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self { seen: Mutex::default(), answered: Semaphore::new(0), released: Semaphore::new(0) }
    }
}

#[derive(Debug, Default)]
struct Seen {
    posts: VecDeque<Fault>,
    deletes: VecDeque<Fault>,
    sent: Vec<Sent>,
    strip_keys: bool,
    in_flight: usize,
    most_in_flight: usize,
}

/// A request that the client sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) key: Option<String>,
    pub(crate) body: Bytes,
}

impl Faults {
    /// What becomes of the next submissions, one each.
    pub(crate) fn posts(&self, faults: impl IntoIterator<Item = Fault>) {
        self.seen().posts.extend(faults);
    }

    /// What becomes of the next cancels, one each.
    pub(crate) fn deletes(&self, faults: impl IntoIterator<Item = Fault>) {
        self.seen().deletes.extend(faults);
    }

    /// Makes the daemon one that knows no idempotency keys: it does not see them, and so echoes none.
    pub(crate) fn strip_keys(&self) {
        self.seen().strip_keys = true;
    }

    /// Lets one held answer go.
    pub(crate) fn release(&self) {
        self.0.released.add_permits(1);
    }

    /// Returns when the daemon has answered one more submission or cancel, whether or not the answer got through.
    pub(crate) async fn answered(&self) {
        self.0.answered.acquire().await.unwrap().forget();
    }

    /// The requests with that method that the client has sent, those that got nowhere included.
    pub(crate) fn sent(&self, method: &Method) -> Vec<Sent> {
        self.seen().sent.iter().filter(|sent| sent.method == *method).cloned().collect()
    }

    /// How many submissions were under way at once, at most.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.seen().most_in_flight
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap()
    }

    /// Notes a request, and says what is to become of it.
    fn next(&self, request: &mut Request<Full<Bytes>>, body: Bytes) -> Fault {
        let mut seen = self.seen();
        let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        let method = request.method().clone();
        if seen.strip_keys {
            request.headers_mut().remove("idempotency-key");
        }
        let fault = match method {
            Method::POST => seen.posts.pop_front(),
            Method::DELETE => seen.deletes.pop_front(),
            _ => None,
        };
        seen.sent.push(Sent { method, key, body });
        fault.unwrap_or(Fault::None)
    }
}

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Faulty<T> {
    http: T,
    faults: Faults,
}

impl<T> Faulty<T> {
    pub(crate) fn new(http: T, faults: Faults) -> Self {
        Self { http, faults }
    }
}

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

impl<T> Service<Request<Full<Bytes>>> for Faulty<T>
where
    T: HttpService<Future: Send, ResponseBody: Send> + Clone + Send + 'static,
    T::ResponseBody: http_body::Body<Data = Bytes> + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        let next = self.http.clone();
        let mut http = std::mem::replace(&mut self.http, next);
        let faults = self.faults.clone();
        Box::pin(async move {
            let body = request.body().clone().collect().await?.to_bytes();
            let counted = matches!(*request.method(), Method::POST | Method::DELETE);
            let fault = faults.next(&mut request, body);
            let _flight = (*request.method() == Method::POST).then(|| Flight::begin(&faults));
            match fault {
                Fault::Refuse => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
                Fault::Reset => return Err(broken()),
                Fault::Hang => return std::future::pending().await,
                Fault::Answer(status, retry_after) => return Ok(answer(status, retry_after)),
                Fault::None | Fault::LoseAnswer | Fault::Hold | Fault::Swallow => {}
            }
            let answer = http.call(request).await.map_err(Into::into)?;
            if counted {
                faults.0.answered.add_permits(1);
            }
            match fault {
                Fault::LoseAnswer => return Err(broken()),
                Fault::Swallow => return std::future::pending().await,
                Fault::Hold => faults.0.released.acquire().await?.forget(),
                _ => {}
            }
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// A submission under way.
struct Flight(Faults);

impl Flight {
    fn begin(faults: &Faults) -> Self {
        let mut seen = faults.seen();
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        Self(faults.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.seen().in_flight -= 1;
    }
}

fn broken() -> BoxError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn answer(status: u16, retry_after: Option<u64>) -> Response<Body> {
    let body = Full::new(Bytes::from(r#"{"error":"a fault"}"#)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}
