use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::Service;

use super::policy::OWN;
use super::{OwnServers, Policy};
use crate::BoxError;
use crate::url_parts::port;

/// The timeout for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection stays open for the next webhook.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many idle connections to one host stay open: as many as there are webhooks in flight to it unless set otherwise. With fewer, a
/// receiver of many events is connected to anew for most of them.
const MAX_IDLE: usize = 16;

/// The configuration that the clients for `http` and `https` share.
pub(super) fn client_builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(MAX_IDLE);
    builder
}

/// Connects to addresses that the policy allows.
///
/// It resolves a name once, checks the addresses and connects to one of them. A name that resolves to another address the next
/// time (DNS rebinding) therefore gains nothing.
#[derive(Debug, Clone)]
pub(super) struct Connector(Arc<Policy>);

impl Connector {
    pub(super) fn new(policy: Policy) -> Self {
        Self(Arc::new(policy))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let host = url.host().ok_or("the URL has no host")?.trim_matches(['[', ']']);
            let port = port(&url);
            let own = policy.own.resolved(port).await?;
            let stream = connect(&policy, &own, host, &resolve(host, port).await?).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    Ok(lookup_host((host, port)).await?.collect())
}

/// Connects to the first allowed address that accepts. Forbidden ones are left out: multicast DNS returns link-local addresses beside
/// others. If all are forbidden, the error is that of the last one.
async fn connect(
    policy: &Policy,
    own: &OwnServers,
    host: &str,
    addresses: &[SocketAddr],
) -> Result<TcpStream, BoxError> {
    let (mut forbidden, mut last) = (None, None);
    for address in addresses {
        let allowed = policy.check_address(host, address.ip());
        if let Err(reason) = allowed.and(if own.has_address(*address) { Err(OWN) } else { Ok(()) }) {
            forbidden = Some(Forbidden { ip: address.ip(), reason });
            continue;
        }
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Some(error.into()),
            Err(elapsed) => last = Some(elapsed.into()),
        }
    }
    Err(last.or(forbidden.map(Into::into)).unwrap_or_else(|| "the host has no address".into()))
}

/// An address that the policy forbids.
#[derive(Debug)]
struct Forbidden {
    ip: IpAddr,
    reason: &'static str,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webhooks are not sent to {}: {}", self.ip, self.reason)
    }
}

impl std::error::Error for Forbidden {}

/// Whether an attempt failed because the policy forbids the address.
pub(super) fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Forbidden>())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use bytes::Bytes;
    use futures_util::future::join_all;
    use http::Response;
    use http_body_util::{BodyExt as _, Full};
    use hyper::service::service_fn;
    use hyper_util::client::legacy::connect::HttpConnector;
    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn forbidden_addresses_of_a_name_are_left_out() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), good.port());
        let policy = Policy { hosts: None, private: true, loopback: false, own: OwnServers::default() };
        let mut own = OwnServers::default();
        for addresses in
            [vec![at("fe80::1"), good], vec![good, at("fe80::1")], vec![at("0.0.0.0"), at("ff02::1"), good]]
        {
            let stream = connect(&policy, &own, "localhost", &addresses).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
        let forbidden = connect(&policy, &own, "localhost", &[at("fe80::1"), at("0.0.0.0")]).await.unwrap_err();
        assert!(is_forbidden(forbidden.as_ref()), "{forbidden}");
        let other = connect(&policy, &own, "other", &[good]).await.unwrap_err();
        assert!(is_forbidden(other.as_ref()), "{other}");
        own.add_address(good);
        let own = connect(&policy, &own, "localhost", &[good, at("127.0.0.2")]).await.unwrap_err();
        assert_eq!(own.to_string(), "webhooks are not sent to 127.0.0.2: a server of this daemon");
        drop(listener);
        let refused = connect(&policy, &OwnServers::default(), "localhost", &[good, at("fe80::1")]).await.unwrap_err();
        assert!(!is_forbidden(refused.as_ref()), "{refused}");
    }

    #[tokio::test]
    async fn webhooks_in_flight_at_once_keep_their_connections() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let server = tokio::spawn(async move {
            // Answers when all requests of a round have come, so that they need a connection each.
            let round = Arc::new(Barrier::new(MAX_IDLE));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Relaxed);
                let round = Arc::clone(&round);
                let service = service_fn(move |_| {
                    let round = Arc::clone(&round);
                    async move {
                        round.wait().await;
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let client = client_builder().build::<_, Full<Bytes>>(HttpConnector::new());
        for _ in 0..3 {
            join_all((0..MAX_IDLE).map(async |_| {
                client.get(url.clone()).await.unwrap().into_body().collect().await.unwrap();
            }))
            .await;
            // The connections return to the pool in tasks of their own.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        server.abort();
        assert_eq!(opened.load(Relaxed), MAX_IDLE);
    }
}
