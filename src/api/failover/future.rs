use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::Addresses;
use super::queue::FOREMAN_QUEUE;
use crate::api::HttpService;
use crate::error::Kind;
use crate::{BoxError, Error};

/// The future of [`Failover`](super::Failover).
#[must_use = "futures do nothing unless polled"]
pub struct FailoverFuture<R>(Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>);

impl<B: Send> FailoverFuture<Response<B>> {
    pub(super) fn send<T>(
        http: T,
        addresses: Arc<Addresses>,
        request: Request<Full<Bytes>>,
        request_timeout: Duration,
    ) -> Self
    where
        T: HttpService<ResponseBody = B, Future: Send> + Send + 'static,
    {
        Self(Box::pin(send(http, addresses, request, request_timeout)))
    }
}

/// Sends a request to one address after another, until one has it or may have it. If none has it, returns the last refusal of a daemon, or else
/// the last error.
async fn send<T: HttpService>(
    mut http: T,
    addresses: Arc<Addresses>,
    request: Request<Full<Bytes>>,
    request_timeout: Duration,
) -> Result<Response<T::ResponseBody>, BoxError> {
    let limit = request_timeout.saturating_add(long_poll(&request));
    let (mut tried, mut refusal) = (Vec::new(), None);
    let mut next = addresses.next(&tried).unwrap_or_default();
    loop {
        let attempt = Attempt { addresses: &addresses, index: next, began: Instant::now(), limit, ended: false };
        let unsent = match attempt.send(&mut http, &request).await {
            Ok(response) if is_refusal(&response) => Ok(response),
            Err(error) if Error::inspect(error.as_ref(), |error| matches!(error.kind(), Kind::Connect)) => {
                refusal.take().ok_or(error)
            }
            result => return result,
        };
        tried.push(next);
        match addresses.next(&tried) {
            Some(index) => (next, refusal) = (index, unsent.ok()),
            None => return unsent,
        }
        std::future::poll_fn(|cx| http.poll_ready(cx)).await.map_err(Into::into)?;
    }
}

/// One request to one address.
struct Attempt<'a> {
    addresses: &'a Addresses,
    index: usize,
    began: Instant,
    /// After so long without a response, the caller drops the request.
    limit: Duration,
    ended: bool,
}

impl Attempt<'_> {
    async fn send<T: HttpService>(
        mut self,
        http: &mut T,
        request: &Request<Full<Bytes>>,
    ) -> Result<Response<T::ResponseBody>, BoxError> {
        let Self { addresses, index, .. } = self;
        let mut request = request.clone();
        *request.uri_mut() = addresses.url(index, request.uri())?;
        if let Some(queue) = addresses.queue.required(index) {
            request.headers_mut().insert(FOREMAN_QUEUE, queue);
        }
        let result = http.call(request).await.map_err(Into::into);
        self.ended = true;
        match result {
            Ok(response) => {
                self.check_queue(&response)?;
                if is_unavailable(response.status()) {
                    self.failed();
                } else {
                    addresses.responded(index);
                }
                Ok(response)
            }
            Err(error) => {
                if Error::inspect(error.as_ref(), |error| error.kind().is_no_response()) {
                    self.failed();
                }
                Err(error)
            }
        }
    }

    fn check_queue<B>(&self, response: &Response<B>) -> Result<(), Error> {
        let Err(other) = self.addresses.queue.check(self.index, response) else { return Ok(()) };
        self.failed();
        let bases = self.addresses.bases();
        let reason = format!("{} and {} are not addresses of one queue", bases[other], bases[self.index]);
        Err(match response.status() {
            // The daemon has done nothing with the request.
            StatusCode::MISDIRECTED_REQUEST => Error::invalid("other_addresses", reason),
            _ => Error::response(reason),
        })
    }

    fn failed(&self) {
        self.addresses.failed(self.index, self.began);
    }
}

/// The caller has dropped the request, which says something of the address only after the timeout.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended && self.began.elapsed() >= self.limit {
            self.failed();
        }
    }
}

/// Whether the daemon says that it has done nothing with the request, and that it cannot now: its store is away, or it shuts down. Without
/// `Retry-After` the response may be that of a proxy, whose connection to the daemon broke in the middle of the request.
fn is_refusal<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SERVICE_UNAVAILABLE
        && foreman_protocol::retry_after(response.headers(), SystemTime::now()).is_some()
}

/// Whether the daemon at this address cannot respond.
fn is_unavailable(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// How long the daemon is asked to hold the response (`Prefer: wait=SECONDS`).
fn long_poll(request: &Request<Full<Bytes>>) -> Duration {
    let prefer = request.headers().get("prefer").and_then(|value| value.to_str().ok());
    let seconds = prefer.and_then(|prefer| prefer.strip_prefix("wait=")).and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

impl<R> Future for FailoverFuture<R> {
    type Output = Result<R, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R> fmt::Debug for FailoverFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverFuture").finish_non_exhaustive()
    }
}
