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

/// How one request fails.
#[derive(Debug, Clone)]
pub(crate) enum HttpFault {
    /// It does not fail.
    None,
    /// The daemon receives the request. The connection breaks before the response.
    LoseResponse,
    /// The connection is refused.
    Refuse,
    /// The connection breaks before the daemon receives the request. The client cannot know that.
    Reset,
    /// A proxy responds with this status and `Retry-After` in seconds. The daemon receives nothing.
    Respond(u16, Option<u64>),
    /// The daemon receives nothing, and no response arrives.
    NeverDeliver,
    /// The daemon receives the request. The response is delayed until [`HttpFaults::release`].
    Delay,
    /// The daemon receives the request, and no response arrives.
    NeverRespond,
}

/// The faults of the next requests, and a record of the requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpFaults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    recorded: Mutex<Recorded>,
    /// One permit for each response of the daemon, also for one that was lost.
    responded: Semaphore,
    released: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self { recorded: Mutex::default(), responded: Semaphore::new(0), released: Semaphore::new(0) }
    }
}

#[derive(Debug, Default)]
struct Recorded {
    posts: VecDeque<HttpFault>,
    deletes: VecDeque<HttpFault>,
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

impl HttpFaults {
    /// The faults of the next submissions, one each.
    pub(crate) fn fail_posts(&self, faults: impl IntoIterator<Item = HttpFault>) {
        self.recorded().posts.extend(faults);
    }

    /// The faults of the next cancel requests, one each.
    pub(crate) fn fail_deletes(&self, faults: impl IntoIterator<Item = HttpFault>) {
        self.recorded().deletes.extend(faults);
    }

    /// Removes idempotency keys, so that the daemon neither sees nor echoes them.
    pub(crate) fn strip_idempotency_keys(&self) {
        self.recorded().strip_keys = true;
    }

    /// Delivers one delayed response.
    pub(crate) fn release(&self) {
        self.0.released.add_permits(1);
    }

    /// Returns when the daemon has responded to one more submission or cancel request, also if the response was lost.
    pub(crate) async fn responded(&self) {
        self.0.responded.acquire().await.unwrap().forget();
    }

    /// The requests of that method that the client has sent, also those that failed.
    pub(crate) fn sent(&self, method: &Method) -> Vec<Sent> {
        self.recorded().sent.iter().filter(|sent| sent.method == *method).cloned().collect()
    }

    /// The highest number of submissions in flight.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.recorded().most_in_flight
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.recorded.lock().unwrap()
    }

    /// Records a request and returns its fault.
    fn record(&self, request: &mut Request<Full<Bytes>>, body: Bytes) -> HttpFault {
        let mut recorded = self.recorded();
        let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        let method = request.method().clone();
        if recorded.strip_keys {
            request.headers_mut().remove("idempotency-key");
        }
        let fault = match method {
            Method::POST => recorded.posts.pop_front(),
            Method::DELETE => recorded.deletes.pop_front(),
            _ => None,
        };
        recorded.sent.push(Sent { method, key, body });
        fault.unwrap_or(HttpFault::None)
    }
}

/// An HTTP client that fails on demand and records requests.
#[derive(Debug, Clone)]
pub(crate) struct FaultyHttp<T> {
    http: T,
    faults: HttpFaults,
}

impl<T> FaultyHttp<T> {
    pub(crate) fn new(http: T, faults: HttpFaults) -> Self {
        Self { http, faults }
    }
}

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

impl<T> Service<Request<Full<Bytes>>> for FaultyHttp<T>
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
            let fault = faults.record(&mut request, body);
            let _in_flight = (*request.method() == Method::POST).then(|| InFlight::begin(&faults));
            match fault {
                HttpFault::Refuse => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
                HttpFault::Reset => return Err(connection_reset()),
                HttpFault::NeverDeliver => return std::future::pending().await,
                HttpFault::Respond(status, retry_after) => return Ok(response(status, retry_after)),
                HttpFault::None | HttpFault::LoseResponse | HttpFault::Delay | HttpFault::NeverRespond => {}
            }
            let response = http.call(request).await.map_err(Into::into)?;
            if counted {
                faults.0.responded.add_permits(1);
            }
            match fault {
                HttpFault::LoseResponse => return Err(connection_reset()),
                HttpFault::NeverRespond => return std::future::pending().await,
                HttpFault::Delay => faults.0.released.acquire().await?.forget(),
                _ => {}
            }
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// A submission in flight.
struct InFlight(HttpFaults);

impl InFlight {
    fn begin(faults: &HttpFaults) -> Self {
        let mut recorded = faults.recorded();
        recorded.in_flight += 1;
        recorded.most_in_flight = recorded.most_in_flight.max(recorded.in_flight);
        Self(faults.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.recorded().in_flight -= 1;
    }
}

fn connection_reset() -> BoxError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn response(status: u16, retry_after: Option<u64>) -> Response<Body> {
    let body = Full::new(Bytes::from(r#"{"error":"a fault"}"#)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
