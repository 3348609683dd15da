use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::BaseUrl;
use crate::wait::Push;
use crate::webhook::{WebhookListener, WebhookReceiver, local_address_towards};
use crate::{Error, Notifier};

/// How long it may take to find the way to the daemon, which asks the resolver for its name.
const ROUTE_LIMIT: Duration = Duration::from_secs(5);

/// How a client hears of its jobs.
#[derive(Debug)]
pub(super) enum Webhooks {
    /// By polling alone: nothing is bound.
    Off,
    /// By a listener of its own.
    Listen { address: Option<SocketAddr> },
    /// By a receiver that the caller has mounted.
    Mounted(Notifier),
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) push: Option<Push>,
    pub(super) notifier: Option<Notifier>,
    pub(super) listener: Option<Arc<WebhookListener>>,
}

impl Webhooks {
    pub(super) async fn open(
        self,
        daemon: &BaseUrl,
        secrets: &[String],
        public_url: Option<&str>,
    ) -> Result<Open, Error> {
        let address = match self {
            Self::Off => return Ok(Open::default()),
            Self::Mounted(notifier) => {
                let url = public_url.ok_or_else(|| {
                    Error::invalid("public_url", "must be set with a notifier: it is where its receiver is mounted")
                })?;
                let push = Push::new(notifier.clone(), url)?;
                return Ok(Open { push: Some(push), notifier: Some(notifier), listener: None });
            }
            Self::Listen { address } => address,
        };
        let notifier = Notifier::new();
        let receiver = WebhookReceiver::builder(notifier.clone());
        // The receiver takes no empty list for a wish to verify nothing; here it is one.
        let receiver = if secrets.is_empty() { receiver } else { receiver.secrets(secrets) }.build()?;
        // Checked before anything is bound.
        let public = public_url.map(|url| Push::new(notifier.clone(), url)).transpose()?;
        let listener = match bind(receiver, address, daemon).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(
                    error = &*error as &dyn std::error::Error,
                    "no webhook receiver can be bound; polling instead"
                );
                return Ok(Open::default());
            }
        };
        let push = match public {
            Some(push) => push,
            None => Push::new(notifier.clone(), format!("http://{}", listener.local_addr()))?,
        };
        Ok(Open { push: Some(push), notifier: Some(notifier), listener: Some(Arc::new(listener)) })
    }
}

/// Binds the given address, or the one from which the route to the daemon leaves.
async fn bind(
    receiver: WebhookReceiver,
    address: Option<SocketAddr>,
    daemon: &BaseUrl,
) -> Result<WebhookListener, crate::BoxError> {
    let address = match address {
        Some(address) => address,
        None => {
            let route = local_address_towards(daemon.host(), daemon.port());
            SocketAddr::new(tokio::time::timeout(ROUTE_LIMIT, route).await??, 0)
        }
    };
    Ok(WebhookListener::builder(receiver).bind(address).await?)
}
