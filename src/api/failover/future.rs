use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::queue::FOREMAN_QUEUE;
use super::{Addresses, Tried};
use crate::api::HttpService;
use crate::error::Kind;
use crate::{BoxError, Error};

/// How much earlier the timeout of the caller may have begun than that of the first attempt.
const EARLIER: Duration = Duration::from_millis(10);

/// The header of a long poll (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

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

/// Sends a request to one address after another, until one has it or may have it, or, if it only reads, until one responds. If none does,
/// returns the last response that is a refusal, or else the last error.
async fn send<T: HttpService>(
    mut http: T,
    addresses: Arc<Addresses>,
    mut request: Request<Full<Bytes>>,
    request_timeout: Duration,
) -> Result<Response<T::ResponseBody>, BoxError> {
    let sent = request.extensions_mut().remove::<Tried>().unwrap_or_default();
    let only_reads = request.method() == Method::GET;
    let deadline = Instant::now().checked_add(request_timeout.saturating_add(long_poll(&request)));
    let (mut tried, mut refusal) = (Vec::new(), None);
    let mut index = addresses.next(&tried).unwrap_or_default();
    loop {
        let (began, attempt) = (Instant::now(), tried.len());
        tried.push(index);
        sent.add(&addresses.bases()[index]);
        let mut limit = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(began));
        let has_part = only_reads && addresses.next(&tried).is_some();
        if has_part {
            limit = limit.min(addresses.part_of(request_timeout).saturating_add(long_poll(&request)));
        }
        let response = Attempt { addresses: &addresses, index, began, limit, ended: false }.send(&mut http, &request);
        let result = match has_part {
            true => timeout(limit, response).await.unwrap_or_else(|_| Err(timed_out(limit))),
            false => response.await,
        };
        let is_lost = |kind: &Kind| matches!(kind, Kind::Connect) || only_reads && kind.is_no_response();
        let failed = match result {
            Ok(response) if is_refusal(&response) || only_reads && is_unavailable(response.status()) => {
                Ok((response, attempt))
            }
            Err(error) if Error::inspect(error.as_ref(), |error| is_lost(error.kind())) => refusal.take().ok_or(error),
            result => return result,
        };
        let Some(next) = addresses.next(&tried) else {
            let (response, attempt) = failed?;
            sent.ended_by(attempt);
            return Ok(response);
        };
        (index, refusal) = (next, failed.ok());
        shorten_long_poll(&mut request);
        std::future::poll_fn(|cx| http.poll_ready(cx)).await.map_err(Into::into)?;
    }
}

fn timed_out(limit: Duration) -> BoxError {
    Error::new(Kind::RequestTimeout(Some(limit))).into()
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
        if !self.ended && self.began.elapsed().saturating_add(EARLIER) >= self.limit {
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
    let prefer = request.headers().get(PREFER).and_then(|value| value.to_str().ok());
    let seconds = prefer.and_then(|prefer| prefer.strip_prefix("wait=")).and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

/// The time for the first long poll has passed. One of a second still shows whether the daemon supports them.
fn shorten_long_poll(request: &mut Request<Full<Bytes>>) {
    if !long_poll(request).is_zero() {
        request.headers_mut().insert(PREFER, HeaderValue::from_static("wait=1"));
    }
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
