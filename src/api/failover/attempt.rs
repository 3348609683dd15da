use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;

use super::Addresses;
use super::health::Failure;
use super::left::Left;
use super::queue::{FOREMAN_QUEUE, Origin};
use crate::api::HttpService;
use crate::error::Kind;
use crate::{BoxError, Error};

/// The header of a long poll (RFC 7240).
pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// One request to one address.
pub(super) struct Attempt<'a> {
    addresses: &'a Addresses,
    index: usize,
    began: Instant,
    /// How long the daemon is asked to hold the response (`Prefer: wait=SECONDS`).
    hold: Duration,
    is_event_stream: bool,
    is_idempotent: bool,
    ended: bool,
}

/// What became of an attempt.
pub(super) enum Answer<R> {
    /// The response to the request.
    Response(R),
    /// The daemon says that it has done nothing with the request.
    Refusal(R),
    /// No daemon of the queue has done anything with the request, or it may be repeated.
    Unsent(BoxError),
    /// The same address may take it.
    Again,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(addresses: &'a Addresses, index: usize, request: &Request<Full<Bytes>>) -> Self {
        let accept = request.headers().get(ACCEPT);
        Self {
            addresses,
            index,
            began: Instant::now(),
            hold: long_poll(request),
            is_event_stream: accept.is_some_and(|accept| accept == "text/event-stream"),
            is_idempotent: request.method().is_idempotent(),
            ended: false,
        }
    }

    pub(super) async fn send<T: HttpService>(
        mut self,
        http: &mut T,
        request: &Request<Full<Bytes>>,
    ) -> Result<Answer<Response<T::ResponseBody>>, BoxError> {
        let Self { addresses, index, .. } = self;
        let mut request = request.clone();
        *request.uri_mut() = addresses.url(index, request.uri())?;
        if let Some(queue) = addresses.queue.required(index) {
            request.headers_mut().insert(FOREMAN_QUEUE, queue);
        }
        let result = http.call(request).await.map_err(Into::into);
        self.ended = true;
        match result {
            Ok(response) => Ok(self.judge(response)?),
            Err(error) => {
                let (is_unsent, no_response) = Error::inspect(error.as_ref(), |error| {
                    (matches!(error.kind(), Kind::Connect), error.kind().is_no_response())
                });
                if no_response {
                    self.failed(Failure::Connection(error.to_string()));
                }
                if is_unsent { Ok(Answer::Unsent(error)) } else { Err(error) }
            }
        }
    }

    /// Only a daemon of the queue makes its address the one in use. Until the queue is known, a response without an error has to do.
    fn judge<B>(&self, mut response: Response<B>) -> Result<Answer<Response<B>>, Error> {
        let (addresses, index, status) = (self.addresses, self.index, response.status());
        // The head of an event stream comes also while the rest hangs.
        if !self.is_event_stream {
            addresses.heard(index);
        }
        let origin = addresses.queue.origin(index, &response, |by| addresses.has_failed(by));
        if let Some(reason) = self.stranger(origin, status) {
            return self.not_of_the_queue(origin, reason, response);
        }
        if origin == Origin::Replaced && status == StatusCode::MISDIRECTED_REQUEST {
            return Ok(Answer::Again);
        }
        let is_refusal = is_refusal(&response);
        if is_refusal && (self.is_event_stream || !self.is_idempotent) {
            self.failed(Failure::Refused);
        } else if is_unavailable(status) {
            self.failed(Failure::Status(status));
        } else {
            let is_error = status.is_client_error() || status.is_server_error();
            match origin {
                Origin::Unnamed => {}
                Origin::Unknown if is_error && !addresses.is_in_use(index) => {}
                _ => addresses.responded(index),
            }
        }
        if is_refusal {
            return Ok(Answer::Refusal(response));
        }
        if self.is_event_stream {
            response.extensions_mut().insert(Left(addresses.left()));
        }
        Ok(Answer::Response(response))
    }

    /// Why the response is not that of a daemon of the queue.
    fn stranger(&self, origin: Origin, status: StatusCode) -> Option<String> {
        let bases = self.addresses.bases();
        let base = &bases[self.index];
        match origin {
            Origin::OtherQueue(by) => Some(format!("{} and {base} are not addresses of one queue", bases[by])),
            Origin::Unnamed if is_unavailable(status) => None,
            // A daemon names its queue in each 404. That of a proxy would end a wait; a proxy without event streams is no failure.
            Origin::Unnamed if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) && !self.is_event_stream => {
                Some(format!("{status} at {base} is not from a daemon of the queue"))
            }
            Origin::Unnamed if !self.addresses.is_in_use(self.index) => {
                Some(format!("{status} at {base} is not from a daemon of the queue"))
            }
            _ => None,
        }
    }

    fn not_of_the_queue<B>(
        &self,
        origin: Origin,
        reason: String,
        response: Response<B>,
    ) -> Result<Answer<Response<B>>, Error> {
        self.failed(Failure::Stranger(reason.clone()));
        if self.is_idempotent || has_done_nothing(response.status()) {
            return Ok(Answer::Unsent(Error::new(Kind::Connect).with_source(reason).into()));
        }
        match origin {
            Origin::OtherQueue(_) => Err(Error::response(reason)),
            // It may be that of a proxy in front of a daemon.
            _ => Ok(Answer::Response(response)),
        }
    }

    fn failed(&self, failure: Failure) {
        self.addresses.failed(self.index, self.began, failure);
    }
}

/// The caller has dropped the request. Its timeout is above this layer.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.addresses.unanswered(self.index, self.began, self.hold);
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
pub(super) fn is_unavailable(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Whether a response with this status shows that no daemon has done anything with the request.
fn has_done_nothing(status: StatusCode) -> bool {
    Error::new(Kind::Status { status, reason: None, retry_after: None }).is_safe_to_resubmit()
}

/// How long the daemon is asked to hold the response.
pub(super) fn long_poll(request: &Request<Full<Bytes>>) -> Duration {
    let prefer = request.headers().get(PREFER).and_then(|value| value.to_str().ok());
    let seconds = prefer.and_then(|prefer| prefer.strip_prefix("wait=")).and_then(|seconds| seconds.parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}
