use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tower::Service;

use super::Policy;
use crate::BoxError;

/// How long one address may take to connect.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to addresses that are allowed. It judges what a name resolved to and connects to that, so that a name that
/// resolves to something else the next time gains nothing.
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

/// The first address that takes the connection. One that is not allowed ends it, whatever else the name resolves to.
async fn connect(policy: &Policy, host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, BoxError> {
    for address in addresses {
        policy.judge(host, address.ip()).map_err(|why| Forbidden { ip: address.ip(), why })?;
    }
    let mut last: BoxError = "the name has no address".into();
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.into(),
            Err(elapsed) => last = elapsed.into(),
        }
    }
    Err(last)
}

/// An address that nothing is sent to.
#[derive(Debug)]
struct Forbidden {
    ip: IpAddr,
    why: &'static str,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webhooks are not sent to {}: {}", self.ip, self.why)
    }
}

impl std::error::Error for Forbidden {}

/// Whether that is why an attempt failed.
pub(super) fn is_forbidden(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Forbidden>())
}
