use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use crate::api::BaseUrl;
use crate::error::Kind;
use crate::wait::WebhookEndpoint;
use crate::webhook::{WebhookListener, WebhookReceiver, local_address_towards};
use crate::{BoxError, Error, Notifier};

/// How long finding the route to the daemon may take, which includes resolving its name.
const ROUTE_LIMIT: Duration = Duration::from_secs(5);

/// Where the events of a client arrive.
#[derive(Debug)]
pub(super) enum WebhookMode {
    /// Nowhere: the client binds nothing.
    Off,
    /// At a listener of its own.
    Listener { address: Option<SocketAddr> },
    /// At a receiver that the caller has mounted.
    Mounted(Notifier),
    /// At an endpoint that other clients use too.
    Shared(WebhookEndpoint),
}

/// The options for the receiver of a client.
pub(super) struct WebhookOptions<'a> {
    pub(super) secrets: &'a [String],
    pub(super) public_url: Option<&'a str>,
    pub(super) max_body: Option<usize>,
}

impl WebhookMode {
    /// The option that sets it. `None` for the default.
    pub(super) fn option(&self) -> Option<&'static str> {
        match self {
            Self::Off => Some("polling"),
            Self::Listener { address } => address.map(|_| "listen"),
            Self::Mounted(_) => Some("notifier"),
            Self::Shared(_) => Some("webhooks"),
        }
    }

    /// Whether the client has a listener of its own, which closes when the client is shut down.
    pub(super) fn is_own_listener(&self) -> bool {
        matches!(self, Self::Listener { .. })
    }

    pub(super) async fn open(
        self,
        addresses: &[BaseUrl],
        options: WebhookOptions<'_>,
    ) -> Result<Option<WebhookEndpoint>, Error> {
        let WebhookOptions { secrets, public_url, max_body } = options;
        let ignored = |option: &'static str, reason: &'static str| Err(Error::invalid(option, reason));
        let address = match self {
            Self::Off if !secrets.is_empty() => return ignored("webhook_secret", "has no effect without webhooks"),
            Self::Off if public_url.is_some() => return ignored("public_url", "has no effect without webhooks"),
            Self::Off if max_body.is_some() => return ignored("max_webhook_body", "has no effect without webhooks"),
            Self::Off => return Ok(None),
            Self::Mounted(_) | Self::Shared(_) if max_body.is_some() => {
                return ignored("max_webhook_body", "has no effect with a receiver of your own: set it there");
            }
            Self::Mounted(notifier) => {
                let url = public_url.ok_or_else(|| {
                    Error::invalid("public_url", "must be set with a notifier: it is the URL of its receiver")
                })?;
                return with_secrets(WebhookEndpoint::new(notifier, url)?, secrets).map(Some);
            }
            Self::Shared(endpoint) => {
                let endpoint = match public_url {
                    Some(url) => endpoint.with_public_url(url)?,
                    None => endpoint,
                };
                return with_secrets(endpoint, secrets).map(Some);
            }
            Self::Listener { address } => address,
        };
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::builder(notifier.clone());
        // The receiver refuses an empty list of secrets. Here it means that events are hints.
        let receiver = if secrets.is_empty() { receiver } else { receiver.secrets(secrets) };
        let receiver = match max_body {
            Some(0) => return Err(Error::invalid("max_webhook_body", "must not be zero")),
            Some(bytes) => receiver.max_body(bytes),
            None => receiver,
        };
        let receiver = receiver.build()?;
        // Checked before anything is bound.
        let public = public_url.map(|url| WebhookEndpoint::new(notifier.clone(), url)).transpose()?;
        // Only a listener that cannot be bound means polling, which is for the whole life of the client. A daemon that is not found
        // now may be found by the next attempt to build a client.
        let address = match address {
            Some(address) => Some(address),
            None => local_address(addresses).await?,
        };
        let Some(address) = address else {
            tracing::warn!(
                "webhooks unavailable, no local address that the daemon can reach; using the event stream or polls"
            );
            return Ok(None);
        };
        let listener = match WebhookListener::builder(receiver).bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "webhooks unavailable; using the event stream or polls"
                );
                return Ok(None);
            }
        };
        let endpoint = match public {
            Some(endpoint) => endpoint,
            None => WebhookEndpoint::new(notifier, format!("http://{}", listener.local_addr()))?,
        };
        Ok(Some(endpoint.with_listener(listener)))
    }
}

fn with_secrets(endpoint: WebhookEndpoint, secrets: &[String]) -> Result<WebhookEndpoint, Error> {
    // Without any, they are those of the endpoint, or else of the receiver.
    if secrets.is_empty() { Ok(endpoint) } else { endpoint.with_secrets(secrets) }
}

/// A free port of the address from which the route to the daemon leaves. `None` if the daemon cannot reach that address.
///
/// Of several daemons, the first one counts whose route does not stay on this machine, since those on other machines send events too.
///
/// # Errors
///
/// If no route is found.
async fn local_address(daemons: &[BaseUrl]) -> Result<Option<SocketAddr>, Error> {
    let mut found = Err(Error::new(Kind::Connect));
    for daemon in daemons {
        match local_address_to(daemon).await {
            Ok(Some(address)) if !address.ip().is_loopback() => return Ok(Some(address)),
            Ok(address) if found.as_ref().ok().copied().flatten().is_none() => found = Ok(address),
            Err(error) if found.is_err() => found = Err(error),
            _ => {}
        }
    }
    found
}

async fn local_address_to(daemon: &BaseUrl) -> Result<Option<SocketAddr>, Error> {
    let route = tokio::time::timeout(ROUTE_LIMIT, local_address_towards(daemon.host(), daemon.port())).await;
    let failed = |error: BoxError| Error::new(Kind::Connect).with_source(error);
    match route.map_err(|error| failed(error.into()))? {
        Ok(address) => Ok(Some(SocketAddr::new(address, 0))),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}
