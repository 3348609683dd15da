use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::Full;
use tower::Service;

use super::call::Endpoint;
use super::failover::FOREMAN_QUEUE;
use super::future::ApiFuture;
use super::{BaseUrl, Call, HttpService, Tried};
use crate::Error;
use crate::submission::{DaemonId, SendingTo, SharedSubmission, TokenId, WaitOwner};

/// The timeout of a request unless set otherwise.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The size limit of a response unless set otherwise, in bytes.
const MAX_RESPONSE_SIZE: usize = 64 << 20;

/// The endpoints of a daemon over any HTTP service: a `Service` of every [`Call`].
///
/// Cloning is as cheap as cloning `T`.
#[derive(Clone)]
pub struct Api<T> {
    http: T,
    target: Arc<Target>,
}

/// What all requests of an [`Api`] have in common.
#[derive(Clone)]
pub(super) struct Target {
    daemon: DaemonId,
    authorization: Option<HeaderValue>,
    pub(super) request_timeout: Duration,
    pub(super) max_response_size: usize,
    over_failover: bool,
    queue: OnceLock<Box<str>>,
}

impl<T> Api<T> {
    /// For the daemon at `base`, over `http`.
    pub fn new(base: BaseUrl, http: T) -> Self {
        let target = Target {
            daemon: base.into(),
            authorization: None,
            request_timeout: REQUEST_TIMEOUT,
            max_response_size: MAX_RESPONSE_SIZE,
            over_failover: false,
            queue: OnceLock::new(),
        };
        Self { http, target: Arc::new(target) }
    }

    /// Sends `Authorization: Bearer TOKEN` with every request. The header is marked as sensitive: HTTP/2 does not index it, and
    /// `Debug` does not show it.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for a token that is empty or not a valid header value, such as one with a newline.
    pub fn token(mut self, token: impl AsRef<str>) -> Result<Self, Error> {
        let token = token.as_ref();
        if token.is_empty() {
            return Err(Error::invalid("token", "must not be empty"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::invalid("token", "must not contain control characters, such as a newline"))?;
        value.set_sensitive(true);
        let target = Arc::make_mut(&mut self.target);
        target.daemon = DaemonId::new(target.daemon.base_url().clone(), Some(value.as_bytes()));
        target.authorization = Some(value);
        Ok(self)
    }

    /// The timeout of one request, until the last byte of the response; 30 s unless set. A long poll may take longer, by the time that
    /// the daemon is asked to hold the response.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for zero.
    pub fn request_timeout(mut self, limit: Duration) -> Result<Self, Error> {
        if limit.is_zero() {
            return Err(Error::invalid("request_timeout", "must not be zero"));
        }
        Arc::make_mut(&mut self.target).request_timeout = limit;
        Ok(self)
    }

    /// The size limit of a response, in bytes; 64 MiB unless set, because results contain artifacts.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for zero.
    pub fn max_response_size(mut self, bytes: usize) -> Result<Self, Error> {
        if bytes == 0 {
            return Err(Error::invalid("max_response_size", "must not be zero"));
        }
        Arc::make_mut(&mut self.target).max_response_size = bytes;
        Ok(self)
    }

    /// There is a [`FailoverLayer`](super::FailoverLayer) below: errors name the address whose response they are, and the others that were
    /// tried. Otherwise they name the base URL. It costs four allocations a request.
    #[must_use]
    pub fn over_failover(mut self) -> Self {
        Arc::make_mut(&mut self.target).over_failover = true;
        self
    }

    /// The identity of the daemon and of the token, for [`WaitLayerBuilder::daemon`](crate::wait::WaitLayerBuilder::daemon).
    #[must_use]
    pub fn daemon_id(&self) -> DaemonId {
        self.target.daemon.clone()
    }

    /// The base URL of the daemon.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        self.target.daemon.base_url()
    }

    /// The id of the daemon's queue (`Foreman-Queue`), as the first response that had one has named it. Daemons with the same id share
    /// their queue, and are [addresses](crate::ClientBuilder::other_addresses) of one client. `None` before a response, and for a daemon
    /// without one.
    #[must_use]
    pub fn queue_id(&self) -> Option<&str> {
        self.target.queue.get().map(|id| &**id)
    }

    /// A `GET` of this path and query, for a response that is read as it comes.
    pub(super) fn get(&self, path: &str) -> Result<Request<Full<bytes::Bytes>>, Error> {
        let mut request = Request::builder().uri(format!("{}{path}", self.base_url()));
        if let Some(authorization) = &self.target.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::default()).map_err(invalid_http)
    }

    pub(super) fn into_http(self) -> T {
        self.http
    }
}

fn invalid_http(error: http::Error) -> Error {
    Error::invalid("request", "is not valid HTTP").with_source(error)
}

impl Target {
    /// The HTTP request for a call.
    fn request<C: Endpoint>(&self, call: &C) -> Result<Request<Full<bytes::Bytes>>, Error> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let body = call.body()?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        call.headers(&mut headers);
        let url = self.daemon.base_url().endpoint(call.path());
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = C::METHOD;
        *request.uri_mut() = url.map_err(invalid_http)?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// A response has come, which may name the queue of the daemon.
    pub(super) fn responded(&self, headers: &HeaderMap) {
        if self.queue.get().is_none()
            && let Some(id) = headers.get(FOREMAN_QUEUE).and_then(|id| id.to_str().ok())
        {
            self.queue.get_or_init(|| id.into());
        }
    }

    /// The method and URL, for an error.
    pub(super) fn describe<C: Endpoint>(&self, call: &C, tried: Option<&Tried>) -> String {
        let (base, path) = (self.daemon.base_url(), call.path());
        match tried {
            Some(tried) => format!("{} {}", C::METHOD, tried.describe(base, &path)),
            None => format!("{} {base}{path}", C::METHOD),
        }
    }
}

impl<T, C> Service<C> for Api<T>
where
    T: HttpService,
    C: Call,
{
    type Response = <C as Call>::Response;
    type Error = Error;
    type Future = ApiFuture<T::Future, T::ResponseBody, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(cx).map_err(|error| Error::from_boxed(error.into()))
    }

    fn call(&mut self, call: C) -> Self::Future {
        let target = Arc::clone(&self.target);
        // First, because a submission that moves to this daemon leaves its callback URL behind.
        let in_flight = match call.send_to(&SendingTo(Arc::clone(&target) as _)) {
            Ok(in_flight) => in_flight,
            Err(error) => return ApiFuture::invalid(error, call, target),
        };
        match target.request(&call) {
            Ok(mut request) => {
                let tried = target.over_failover.then(Tried::default);
                if let Some(tried) = tried.clone() {
                    request.extensions_mut().insert(tried);
                }
                ApiFuture::new(self.http.call(request), call, target, tried, in_flight)
            }
            Err(error) => {
                let unsent = Err(error.clone());
                if let Some(in_flight) = in_flight {
                    call.sent(in_flight, &unsent);
                }
                ApiFuture::invalid(error, call, target)
            }
        }
    }
}

/// A submission that is sent without a wait around it belongs to this daemon. It has no callback URL and no drop policy.
impl WaitOwner for Target {
    fn register(&self, _: &Arc<SharedSubmission>) -> Result<Option<TokenId>, Error> {
        Ok(None)
    }

    fn daemon(&self) -> Option<&DaemonId> {
        Some(&self.daemon)
    }

    fn only_sends(&self) -> bool {
        true
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("daemon", &self.daemon).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Api<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("base_url", self.base_url())
            .field("token", &self.target.authorization.is_some())
            .field("request_timeout", &self.target.request_timeout)
            .field("max_response_size", &self.target.max_response_size)
            .finish_non_exhaustive()
    }
}
