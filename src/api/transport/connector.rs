use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service;

use crate::{BoxError, Error};

#[cfg(feature = "tls")]
type Inner = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Inner = HttpConnector;

/// Opens connections, and gives up after a while.
#[derive(Clone)]
pub(super) struct Connector {
    inner: Inner,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(https: bool, limit: Duration) -> Result<Self, Error> {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(limit));
        Ok(Self { inner: secured(http, https)?, limit })
    }
}

#[cfg(feature = "tls")]
fn secured(mut http: HttpConnector, https: bool) -> Result<Inner, Error> {
    use std::sync::Arc;

    use rustls::crypto::ring::default_provider;
    use rustls::{ClientConfig, RootCertStore};

    http.enforce_http(false);
    let mut roots = RootCertStore::empty();
    if https {
        // Only then: a machine without certificates can still talk to a daemon in the clear.
        let found = rustls_native_certs::load_native_certs();
        let (taken, _) = roots.add_parsable_certificates(found.certs);
        if taken == 0 {
            let error = Error::invalid("base_url", "is https, and this machine has no root certificates");
            return Err(match found.errors.into_iter().next() {
                Some(cause) => error.with_source(cause),
                None => error,
            });
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::invalid("base_url", "is https, and TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    Ok(builder.enable_http1().enable_http2().wrap_connector(http))
}

#[cfg(not(feature = "tls"))]
fn secured(http: HttpConnector, https: bool) -> Result<Inner, Error> {
    if https {
        return Err(Error::invalid("base_url", "is https, and this build has no TLS (feature `tls`)"));
    }
    Ok(http)
}

impl Service<Uri> for Connector {
    type Response = <Inner as Service<Uri>>::Response;
    type Error = BoxError;
    // Boxed because hyper-util wants it `Unpin`; one for each connection, not for each request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[cfg_attr(feature = "tls", expect(clippy::useless_conversion, reason = "it is one without TLS"))]
    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, connecting) = (self.limit, self.inner.call(uri));
        Box::pin(async move {
            // Without TLS the inner error is one of hyper-util's own; with it, one in a box.
            tokio::time::timeout(limit, connecting).await?.map_err(BoxError::from)
        })
    }
}
