use std::collections::HashSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::Instant;

use super::Names;
use super::search::full_names;
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
    config: ResolverConfig,
    ndots: usize,
    names: Names,
}

impl HickoryResolver {
    pub(super) fn new(names: Names, name_server: Option<SocketAddr>) -> Result<Self, Error> {
        let (config, options) = match name_server {
            None => read_system_conf().map_err(invalid)?,
            Some(address) => {
                (ResolverConfig::from_parts(None, Vec::new(), vec![server(address)]), ResolverOpts::default())
            }
        };
        Self::with_config(names, config, options)
    }

    pub(super) fn with_config(names: Names, config: ResolverConfig, mut options: ResolverOpts) -> Result<Self, Error> {
        options.cache_size = 0;
        let ndots = options.ndots;
        let mut builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Self { resolver: builder.build().map_err(invalid)?, config, ndots, names })
    }
}

fn invalid(error: NetError) -> Error {
    Error::invalid("name_server", "cannot be used").with_source(error)
}

/// TCP is for answers that are truncated by UDP.
pub(super) fn server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

impl Resolve for HickoryResolver {
    fn resolve(&self) -> Resolving {
        let (Names::Addresses { name, .. } | Names::Services { name }) = &self.names;
        let full = Name::from_utf8(name).map(|name| full_names(name, &self.config, self.ndots));
        let (resolver, names) = (self.resolver.clone(), self.names.clone());
        Box::pin(async move {
            Ok(match names {
                Names::Addresses { name, port } => match name.parse() {
                    Ok(ip) => Resolved { urls: HashSet::from([address_url(ip, port)]), ttl: Duration::MAX },
                    Err(_) => {
                        let found = lookup(&resolver, full?, &[RecordType::A, RecordType::AAAA]).await?;
                        resolved(found, |data| data.ip_addr().map(|ip| address_url(ip, port)))
                    }
                },
                Names::Services { .. } => resolved(lookup(&resolver, full?, &[RecordType::SRV]).await?, service_url),
            })
        })
    }
}

/// The records of the first name that has any, of its first type that has any. `None` if the name server says of each name and type that
/// there are none.
///
/// # Errors
///
/// If there are none as far as is known, and one lookup failed. hickory has a lookup of both types, which returns the outcome of the second
/// one alone, so that a failure for A and no AAAA records would be a name without addresses.
async fn lookup(resolver: &TokioResolver, names: Vec<Name>, types: &[RecordType]) -> Result<Option<Lookup>, NetError> {
    let mut failure = None;
    for name in names {
        for kind in types {
            match resolver.lookup(name.clone(), *kind).await {
                Ok(found) if found.answers().iter().any(|record| record.record_type() == *kind) => {
                    return Ok(Some(found));
                }
                Ok(_) => {}
                Err(error) if is_absence(&error) => {}
                // The records of the other type may be other addresses of the same daemons.
                Err(error) => {
                    failure.get_or_insert(error);
                    break;
                }
            }
        }
    }
    failure.map_or(Ok(None), Err)
}

/// Whether the response says that there are no such records: NXDOMAIN, or NOERROR and no referral to another name server.
fn is_absence(error: &NetError) -> bool {
    let NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, soa, ns, .. })) = error else { return false };
    matches!(response_code, ResponseCode::NXDomain | ResponseCode::NoError) && (soa.is_some() || ns.is_none())
}

fn resolved(found: Option<Lookup>, url: impl Fn(&RData) -> Option<String>) -> Resolved {
    let Some(found) = found else { return Resolved { urls: HashSet::new(), ttl: Duration::ZERO } };
    let urls = found.answers().iter().filter_map(|record| url(&record.data)).collect();
    Resolved { urls, ttl: Instant::from_std(found.valid_until()).saturating_duration_since(Instant::now()) }
}

fn address_url(ip: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::new(ip, port))
}

fn service_url(data: &RData) -> Option<String> {
    let RData::SRV(srv) = data else { return None };
    Some(format!("http://{}:{}", srv.target.to_utf8().trim_end_matches('.'), srv.port))
}
