use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;

use super::Roots;
use super::connect::{Connector, client_builder};
use crate::BoxError;

type Https = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// The client for `https`, with the operating system's root certificates and the configured ones.
///
/// It is built for the first webhook to `https`: reading the system's certificates takes a while, and most daemons never need
/// them.
#[derive(Debug)]
pub(super) struct HttpsClient {
    connector: Connector,
    roots: Roots,
    client: Mutex<Option<Https>>,
}

impl HttpsClient {
    pub(super) fn new(connector: Connector, roots: Roots) -> Self {
        Self { connector, roots, client: Mutex::default() }
    }

    pub(super) fn get(&self) -> Result<Https, BoxError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        Ok(client.insert(build(self.connector.clone(), &self.roots)?).clone())
    }
}

fn build(connector: Connector, roots: &Roots) -> Result<Https, BoxError> {
    let roots = roots.with_system();
    if roots.is_empty() {
        return Err("the system has no root certificates".into());
    }
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(crate::tls::config(roots)?)
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    Ok(client_builder().build(connector))
}
