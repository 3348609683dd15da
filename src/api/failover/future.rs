use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use tokio::time::timeout;

use super::attempt::{Answer, Attempt, PREFER, is_unavailable, long_poll};
use super::{Addresses, Tried};
use crate::api::HttpService;
use crate::error::Kind;
use crate::{BoxError, Error};

/// The future of [`Failover`](super::Failover).
#[must_use = "futures do nothing unless polled"]
pub struct FailoverFuture<R>(Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>);

impl<B: Send> FailoverFuture<Response<B>> {
    pub(super) fn send<T>(http: T, addresses: Arc<Addresses>, request: Request<Full<Bytes>>) -> Self
    where
        T: HttpService<ResponseBody = B, Future: Send> + Send + 'static,
    {
        Self(Box::pin(send(http, addresses, request)))
    }
}

/// Sends a request to one address after another, until one has it or may have it. One that only reads goes on until it has a response. If
/// none has it, returns the last refusal of a daemon, or else the last error.
async fn send<T: HttpService>(
    mut http: T,
    addresses: Arc<Addresses>,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<T::ResponseBody>, BoxError> {
    let sent = request.extensions_mut().remove::<Tried>().unwrap_or_default();
    let only_reads = request.method() == Method::GET;
    let (mut tried, mut refusal) = (Vec::new(), None);
    let mut index = addresses.next(&tried).unwrap_or_default();
    loop {
        let number = tried.len();
        tried.push(index);
        sent.add(&addresses.bases()[index]);
        let answer = Attempt::new(&addresses, index, &request).send(&mut http, &request);
        let answer = if only_reads && addresses.next(&tried).is_some() {
            let limit = addresses.part().saturating_add(long_poll(&request));
            timeout(limit, answer).await.unwrap_or_else(|_| Ok(Answer::Unsent(timed_out(limit))))
        } else {
            answer.await
        };
        let failed = match answer {
            Ok(Answer::Response(response)) if only_reads && is_unavailable(response.status()) => Ok((response, number)),
            Ok(Answer::Response(response)) => return Ok(response),
            Ok(Answer::Refusal(response)) => Ok((response, number)),
            Ok(Answer::Unsent(error)) => refusal.take().ok_or(error),
            Ok(Answer::Again) => {
                tried.pop();
                std::future::poll_fn(|cx| http.poll_ready(cx)).await.map_err(Into::into)?;
                continue;
            }
            Err(error) if only_reads && is_lost(&error) => refusal.take().ok_or(error),
            Err(error) => return Err(error),
        };
        let Some(next) = addresses.next(&tried) else {
            let (response, number) = failed?;
            sent.ended_by(number);
            return Ok(response);
        };
        (index, refusal) = (next, failed.ok());
        shorten_long_poll(&mut request);
        std::future::poll_fn(|cx| http.poll_ready(cx)).await.map_err(Into::into)?;
    }
}

fn is_lost(error: &BoxError) -> bool {
    Error::inspect(error.as_ref(), |error| error.kind().is_no_response())
}

fn timed_out(limit: Duration) -> BoxError {
    Error::new(Kind::RequestTimeout(Some(limit))).into()
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
