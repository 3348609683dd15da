//! Discovery of daemons by DNS (feature `dns`), such as of a headless service of Kubernetes.

mod discovery;
mod resolve;
mod search;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;

pub use self::discovery::DnsDiscovery;
use self::resolve::HickoryResolver;
use crate::{Client, Error};

/// The daemons of a name, for [`PoolBuilder::discover`](super::PoolBuilder::discover). Each address, or each target of a service, is a daemon.
///
/// The name is resolved again when its records expire, but at least 1 s and at most 5 min after the last time. If that fails, the daemons
/// stay, and it is tried again after 5 s. A name has no daemons only if the name server says that there are no records, of either type
/// (NXDOMAIN, or a response without data). An answer that is truncated by UDP is requested again by TCP.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::pool::Dns;
/// use foreman_client::wait::WebhookEndpoint;
/// use foreman_client::{Client, Pool};
///
/// // One listener for the events of all daemons.
/// let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
/// let gpus = Dns::addresses("gpu.default.svc.cluster.local", 11435)
///     // Not needed where the operating system knows the server.
///     .name_server(([127, 0, 0, 1], 53).into())
///     .discover(move |url| {
///         let client = Client::builder(url).webhooks(webhooks.clone());
///         async move { client.webhook_secret("a secret").build().await }
///     })?;
/// let pool = Pool::builder().discover(gpus)?;
/// # let _ = pool;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Dns {
    names: Names,
    name_server: Option<SocketAddr>,
}

/// What is resolved.
#[derive(Debug, Clone)]
enum Names {
    Addresses { name: String, port: u16 },
    Services { name: String },
}

impl Dns {
    /// The addresses of a name: its A records, or its AAAA records if it has none. All daemons have the same port. A daemon with addresses of
    /// both kinds is one daemon. If the A records cannot be looked up, the AAAA records are not used.
    ///
    /// The base URL of a daemon is `http`, the address and the port.
    pub fn addresses(name: impl Into<String>, port: u16) -> Self {
        Self { names: Names::Addresses { name: name.into(), port }, name_server: None }
    }

    /// The targets of a service: the SRV records of a name such as `_foreman._tcp.example.com`. Priorities and weights are not used: the pool
    /// knows the load.
    ///
    /// The base URL of a daemon is `http`, the name of the target and its port. For `https`, the client can be built with another URL.
    pub fn services(name: impl Into<String>) -> Self {
        Self { names: Names::Services { name: name.into() }, name_server: None }
    }

    /// The name server, which is asked by UDP, and by TCP for answers that are too long. Unless set, those of the operating system are asked.
    pub fn name_server(mut self, address: SocketAddr) -> Self {
        self.name_server = Some(address);
        self
    }

    /// The discovery. `connect` builds the client of a daemon from its base URL. If that fails, it is tried again after 5 s.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for an empty name, and if the configuration of the operating system cannot be read.
    pub fn discover<T, C, F>(self, connect: C) -> Result<DnsDiscovery<C, F>, Error>
    where
        C: FnMut(String) -> F,
        F: Future<Output = Result<Client<T>, Error>>,
    {
        let (Names::Addresses { name, .. } | Names::Services { name }) = &self.names;
        if name.is_empty() {
            return Err(Error::invalid("name", "must not be empty"));
        }
        let resolver = HickoryResolver::new(self.names, self.name_server)?;
        Ok(DnsDiscovery::new(Box::new(resolver), connect))
    }
}
