//! The default HTTP client: connections of its own to the daemon, and hyper-util's client where TLS or HTTP/2 is needed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{Layer as _, Service};

use self::connector::Connector;
use self::pool::Pool;
use super::{Addresses, BaseUrl, FailoverFuture, FailoverLayer};
use crate::{BoxError, Error};

mod connector;
mod pool;

/// How long an idle connection stays in the pool.
const IDLE: Duration = Duration::from_secs(15);

/// The default HTTP client. It speaks HTTP/1.1, and HTTP/2 where TLS negotiates it; `https` is by rustls with the root certificates
/// of the operating system (feature `tls`).
///
/// Connecting has a timeout of 5 s unless set, over name resolution, TCP and TLS together. Idle connections are closed after 15 s,
/// sooner than most servers close them, so that a submission seldom meets a connection that is being closed. Cloning is cheap, and
/// clones share the connections.
#[derive(Clone)]
pub struct Transport(Arc<Inner>);

struct Inner {
    /// Of several addresses of one queue. It is not in the transport itself, of which each wait has clones.
    failover: Option<FailoverLayer>,
    /// One for each origin of a base URL, if it is `http` without HTTP/2. It costs less for each request.
    direct: Box<[Arc<Pool<Connector>>]>,
    /// For everything else.
    client: Client<Connector, Full<Bytes>>,
}

impl Transport {
    /// With the defaults, for a daemon at `base`.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for an `https` URL in a build without the feature `tls`, or on a machine without root certificates.
    pub fn new(base: &BaseUrl) -> Result<Self, Error> {
        Self::builder().build(base)
    }

    /// Starts a transport with limits of your own.
    pub fn builder() -> TransportBuilder {
        TransportBuilder::default()
    }
}

/// Sends each request where its URL says.
#[derive(Clone)]
struct Connections(Arc<Inner>);

/// Sets the limits of a [`Transport`].
#[derive(Debug, Clone)]
#[must_use]
pub struct TransportBuilder {
    connect_timeout: Duration,
    http2: bool,
}

impl Default for TransportBuilder {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), http2: false }
    }
}

impl TransportBuilder {
    /// The timeout of connecting, over name resolution, TCP and TLS together; 5 s unless set. A client with more addresses than fit
    /// into half of its request timeout (30 s unless set) connects to each for its share of that half.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Speaks HTTP/2 from the first byte, without negotiation, for a server that is known to support it. Off unless set.
    pub fn http2_prior_knowledge(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Builds the client for a daemon at `base`.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for a timeout of zero, and as [`Transport::new`].
    pub fn build(self, base: &BaseUrl) -> Result<Transport, Error> {
        self.build_over(std::slice::from_ref(base), None)
    }

    /// Builds the client for a queue with these addresses.
    pub(crate) fn build_for(
        mut self,
        addresses: &Arc<Addresses>,
        request_timeout: Duration,
    ) -> Result<Transport, Error> {
        let bases = addresses.bases();
        self.connect_timeout = self.connect_timeout.min(share(request_timeout, bases.len()));
        self.build_over(bases, Some(FailoverLayer::over(Arc::clone(addresses))))
    }

    fn build_over(self, bases: &[BaseUrl], failover: Option<FailoverLayer>) -> Result<Transport, Error> {
        if self.connect_timeout.is_zero() {
            return Err(Error::invalid("connect_timeout", "must not be zero"));
        }
        let connector = Connector::new(bases.iter().any(BaseUrl::is_https), self.connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .timer(TokioTimer::new())
            .http2_only(self.http2)
            .build(connector.clone());
        let direct = bases.iter().filter(|base| !base.is_https() && !self.http2);
        let direct = direct.map(|base| Pool::new(connector.clone(), base)).collect::<Result<_, _>>()?;
        Ok(Transport(Arc::new(Inner { failover, direct, client })))
    }
}

/// The time to connect to each of so many addresses, so that all can be tried in half of the time of a request. After a timeout in the middle
/// it would count as maybe sent.
fn share(request_timeout: Duration, addresses: usize) -> Duration {
    let share = request_timeout / 2 / u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    share.max(Duration::from_millis(1))
}

impl Service<Request<Full<Bytes>>> for Transport {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = TransportFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> TransportFuture {
        match &self.0.failover {
            None => TransportFuture(self.0.send(request)),
            Some(failover) => {
                let mut failover = failover.layer(Connections(Arc::clone(&self.0)));
                TransportFuture(State::Several(failover.call(request)))
            }
        }
    }
}

impl Service<Request<Full<Bytes>>> for Connections {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = TransportFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> TransportFuture {
        TransportFuture(self.0.send(request))
    }
}

impl Inner {
    fn send(&self, request: Request<Full<Bytes>>) -> State {
        match self.direct.iter().find(|pool| pool.serves(&request)) {
            Some(pool) => State::Direct(Box::pin(Arc::clone(pool).send(request))),
            None => State::Client(self.client.request(request)),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The future of [`Transport`].
#[must_use = "futures do nothing unless polled"]
pub struct TransportFuture(State);

enum State {
    Direct(Pin<Box<dyn Future<Output = Result<Response<Incoming>, BoxError>> + Send>>),
    Client(ResponseFuture),
    Several(FailoverFuture<Response<Incoming>>),
}

impl Future for TransportFuture {
    type Output = Result<Response<Incoming>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Direct(response) => response.as_mut().poll(cx),
            State::Client(response) => Pin::new(response).poll(cx).map_err(Into::into),
            State::Several(response) => Pin::new(response).poll(cx),
        }
    }
}

impl fmt::Debug for TransportFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_fit_into_half_of_the_time_of_a_request() {
        let second = Duration::from_secs(1);
        for (timeout, addresses, expected) in [(30, 1, 15), (30, 3, 5), (60, 6, 5), (30, 15, 1)] {
            assert_eq!(share(second * timeout, addresses), second * expected, "{addresses}");
        }
        // Which the client refuses as such.
        assert!(!share(Duration::ZERO, 2).is_zero());
    }
}
