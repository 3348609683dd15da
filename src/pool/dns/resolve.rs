use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::time::Instant;

use super::Names;
use crate::{BoxError, Error};

/// A lookup in flight.
pub(super) type Resolving = Pin<Box<dyn Future<Output = Result<Resolved, BoxError>> + Send>>;

/// The daemons of a name, and for how long that holds.
pub(super) struct Resolved {
    pub(super) urls: HashSet<String>,
    pub(super) ttl: Duration,
}

/// Resolves one name.
pub(super) trait Resolve: Send {
    fn resolve(&self) -> Resolving;
}

/// By hickory, without a cache of its own: the discovery knows when to ask again.
pub(super) struct HickoryResolver {
    resolver: TokioResolver,
    names: Names,
}

impl HickoryResolver {
    pub(super) fn new(names: Names, name_server: Option<SocketAddr>) -> Result<Self, Error> {
        let invalid = |error: NetError| Error::invalid("name_server", "cannot be used").with_source(error);
        let mut builder = match name_server {
            None => TokioResolver::builder_tokio().map_err(invalid)?,
            Some(address) => {
                let mut connection = ConnectionConfig::udp();
                connection.port = address.port();
                let server = NameServerConfig::new(address.ip(), true, vec![connection]);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.options_mut().cache_size = 0;
        Ok(Self { resolver: builder.build().map_err(invalid)?, names })
    }
}

impl Resolve for HickoryResolver {
    fn resolve(&self) -> Resolving {
        let (resolver, names) = (self.resolver.clone(), self.names.clone());
        Box::pin(async move {
            let found = match names {
                Names::Addresses { name, port } => resolver.lookup_ip(name).await.map(|found| {
                    let urls = found.iter().map(|ip: IpAddr| format!("http://{}", SocketAddr::new(ip, port))).collect();
                    (urls, found.valid_until())
                }),
                Names::Services { name } => resolver.srv_lookup(name).await.map(|found| {
                    let urls = found.answers().iter().filter_map(|record| match &record.data {
                        RData::SRV(srv) => {
                            let target = srv.target.to_utf8();
                            Some(format!("http://{}:{}", target.trim_end_matches('.'), srv.port))
                        }
                        _ => None,
                    });
                    (urls.collect(), found.valid_until())
                }),
            };
            match found {
                Ok((urls, until)) => {
                    Ok(Resolved { urls, ttl: Instant::from_std(until).saturating_duration_since(Instant::now()) })
                }
                Err(error) if error.is_no_records_found() => Ok(Resolved { urls: HashSet::new(), ttl: Duration::ZERO }),
                Err(error) => Err(error.into()),
            }
        })
    }
}
