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

use super::Policy;
use crate::BoxError;

/// The timeout for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection stays open for the next webhook.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The configuration that the clients for `http` and `https` share.
pub(super) fn client_builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(4);
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
            let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
            let stream = connect(&policy, host, &resolve(host, port).await?).await?;
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

/// Connects to the first address that accepts. One forbidden address is an error, whatever else the name resolves to.
async fn connect(policy: &Policy, host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, BoxError> {
    for address in addresses {
        policy.check_address(host, address.ip()).map_err(|reason| Forbidden { ip: address.ip(), reason })?;
    }
    let mut last: BoxError = "the host has no address".into();
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.into(),
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
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
