use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::Full;
use tower::Service;

use super::future::ApiFuture;
use super::{BaseUrl, Call, HttpService};
use crate::Error;
use crate::submission::DaemonId;

/// The timeout of a request unless set otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
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
    base: BaseUrl,
    authorization: Option<HeaderValue>,
    pub(super) request_timeout: Duration,
    pub(super) max_response_size: usize,
}

impl<T> Api<T> {
    /// For the daemon at `base`, over `http`.
    pub fn new(base: BaseUrl, http: T) -> Self {
        let target = Target {
            base,
            authorization: None,
            request_timeout: REQUEST_TIMEOUT,
            max_response_size: MAX_RESPONSE_SIZE,
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
        Arc::make_mut(&mut self.target).authorization = Some(value);
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

    /// The identity of the daemon and of the token, for [`WaitLayerBuilder::daemon`](crate::wait::WaitLayerBuilder::daemon).
    #[must_use]
    pub fn daemon_id(&self) -> DaemonId {
        DaemonId::new(self.target.base.clone(), self.target.authorization.as_ref().map(HeaderValue::as_bytes))
    }

    /// The base URL of the daemon.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.target.base
    }
}

impl Target {
    /// The HTTP request for a call.
    fn request<C: Call>(&self, call: &C) -> Result<Request<Full<bytes::Bytes>>, Error> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let body = call.body()?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        call.headers(&mut headers);
        let mut request = Request::builder()
            .method(C::METHOD)
            .uri(self.url(call))
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| Error::invalid("request", "is not valid HTTP").with_source(error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn url<C: Call>(&self, call: &C) -> String {
        format!("{}{}", self.base, call.path())
    }

    /// The method and URL, for an error.
    pub(super) fn describe<C: Call>(&self, call: &C) -> String {
        format!("{} {}", C::METHOD, self.url(call))
    }
}

impl<T, C> Service<C> for Api<T>
where
    T: HttpService,
    C: Call,
{
    type Response = C::Response;
    type Error = Error;
    type Future = ApiFuture<T::Future, T::ResponseBody, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.http.poll_ready(cx).map_err(|error| Error::from_boxed(error.into()))
    }

    fn call(&mut self, call: C) -> Self::Future {
        match self.target.request(&call) {
            Ok(request) => ApiFuture::new(self.http.call(request), call, Arc::clone(&self.target)),
            Err(error) => ApiFuture::invalid(error, call, Arc::clone(&self.target)),
        }
    }
}

impl<T> fmt::Debug for Api<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("base_url", &self.target.base)
            .field("token", &self.target.authorization.is_some())
            .field("request_timeout", &self.target.request_timeout)
            .field("max_response_size", &self.target.max_response_size)
            .finish_non_exhaustive()
    }
}
