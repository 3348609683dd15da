//! The HTTP client of model servers.

use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

use crate::{BaseUrl, BoxError, Error};

/// How long an idle connection stays open.
const IDLE: Duration = Duration::from_secs(15);

#[cfg(feature = "tls")]
type Inner = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Inner = HttpConnector;

/// Boxed because hyper-util requires `Unpin` futures: one box for each connection, not for each request.
type Connector = BoxCloneSyncService<Uri, <Inner as Service<Uri>>::Response, BoxError>;

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

/// A client for the server at `base`. `limit` bounds name resolution, TCP and TLS together.
pub(super) fn client(base: &BaseUrl, limit: Duration) -> Result<HttpClient, Error> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(limit));
    let connector = ServiceBuilder::new().timeout(limit).service(secured(http, base)?);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .timer(TokioTimer::new())
        .build(BoxCloneSyncService::new(connector)))
}

#[cfg(feature = "tls")]
fn secured(mut http: HttpConnector, base: &BaseUrl) -> Result<Inner, Error> {
    use rustls::RootCertStore;

    use crate::tls;

    http.enforce_http(false);
    let mut roots = RootCertStore::empty();
    if base.is_https() {
        // For `https` only: a machine without root certificates can still use `http`.
        tls::add_system_roots(&mut roots);
        if roots.is_empty() {
            return Err(Error::config("url", "is https, but this machine has no root certificates"));
        }
    }
    let config = tls::config(roots)
        .map_err(|error| Error::config("url", "is https, but TLS cannot be set up").with_source(error))?;
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(builder.enable_http1().enable_http2().wrap_connector(http))
}

#[cfg(not(feature = "tls"))]
fn secured(http: HttpConnector, base: &BaseUrl) -> Result<Inner, Error> {
    if base.is_https() {
        return Err(Error::config("url", "is https, but this build has no TLS (feature `tls`)"));
    }
    Ok(http)
}
