use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;

use super::Roots;
use super::connect::Connector;
use super::sender::connections;
use crate::BoxError;

type Https = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// Sends to `https`, with the roots of the operating system and those that were given. The former are read when the first such
/// address comes up, since that takes a while and most daemons have none.
#[derive(Debug)]
pub(super) struct Secure {
    connector: Connector,
    pub(super) roots: Roots,
    client: Mutex<Option<Https>>,
}

impl Secure {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, roots: Roots::none(), client: Mutex::default() }
    }

    pub(super) fn client(&self) -> Result<Https, BoxError> {
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
    Ok(connections().build(connector))
}
