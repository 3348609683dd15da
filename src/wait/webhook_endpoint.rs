use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use foreman_protocol::BaseUrl;
use foreman_protocol::webhook::Secret;

use crate::submission::{SharedSubmission, TokenId};
use crate::webhook::{WebhookListener, WebhookReceiver};
use crate::{Error, Notifier};

/// Where the daemon sends the events of the submissions of a [`WaitLayer`](super::WaitLayer): the registry that they reach, and the
/// URL of the receiver that feeds it.
///
/// Any number of clients and layers may share one, each with the secrets of its daemon. Cloning is cheap, and clones have the same
/// registry and the same listener.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), foreman_client::BoxError> {
/// use foreman_client::wait::WebhookEndpoint;
/// use foreman_client::{Client, Pool};
///
/// let webhooks = WebhookEndpoint::bind(([127, 0, 0, 1], 0).into()).await?;
/// let gpu_1 = Client::builder("http://127.0.0.1:11435")
///     .webhooks(webhooks.clone())
///     .webhook_secret("the secret of gpu-1");
/// let gpu_2 = Client::builder("http://127.0.0.1:11436")
///     .webhooks(webhooks)
///     .webhook_secret("the secret of gpu-2");
/// let (gpu_1, gpu_2) = (gpu_1.build().await?, gpu_2.build().await?);
/// assert_eq!(gpu_1.webhook_url(), gpu_2.webhook_url());
/// let pool = Pool::from_clients([gpu_1, gpu_2])?;
/// # let _ = pool;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    pub(super) notifier: Notifier,
    public_url: BaseUrl,
    listener: Option<Arc<WebhookListener>>,
    /// The number of the secrets in the registry. `None` for those of the receiver.
    secrets: Option<NonZeroU16>,
}

impl WebhookEndpoint {
    /// `public_url` is the URL at which the daemon reaches a [`WebhookReceiver`] of `notifier`. The callback URL of a submission is this
    /// URL, `/` and a token.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not an `http` or `https` URL with a host.
    pub fn new(notifier: Notifier, public_url: impl AsRef<str>) -> Result<Self, Error> {
        let public_url = BaseUrl::parse("public_url", public_url.as_ref())?;
        Ok(Self { notifier, public_url, listener: None, secrets: None })
    }

    /// Binds a listener with default limits and a registry of its own, for any number of clients. With port 0 the system assigns a free
    /// port. The daemons must reach the address.
    ///
    /// For a listener with other limits, or one that is reached under another URL, use [`new`](Self::new) and
    /// [`with_listener`](Self::with_listener).
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] for an unspecified address, such as `0.0.0.0`, which no daemon can reach. As
    /// [`WebhookListenerBuilder::bind`](crate::webhook::WebhookListenerBuilder::bind) if it cannot be bound.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing is bound.
    ///
    /// # Panics
    ///
    /// Panics if it is polled outside a tokio runtime with I/O and time enabled.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        if address.ip().is_unspecified() {
            return Err(Error::invalid("address", "must be one that the daemons can reach"));
        }
        let notifier = Notifier::new();
        let listener = WebhookListener::builder(WebhookReceiver::new(notifier.clone())).bind(address).await?;
        Ok(Self::new(notifier, format!("http://{}", listener.local_addr()))?.with_listener(listener))
    }

    /// Makes the endpoint own the listener that serves it. The listener stays open as long as a clone of the endpoint is there, a wait
    /// service uses one, or a submission whose callback URL it is; otherwise the URL could pass to another process while the daemon
    /// still sends events to it.
    #[must_use]
    pub fn with_listener(mut self, listener: WebhookListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// An endpoint with the same registry and the same listener, for a daemon that signs its events with one of these secrets. They take
    /// the place of those of the receiver, and of those set before. See [`Secret::new`] for their format.
    ///
    /// An event of a submission by this endpoint that is not signed with one of them is refused, even if another daemon that shares the
    /// registry has signed it. That applies also to late events, whose submission is over: the callback URL identifies the secrets.
    ///
    /// The registry stores each list of secrets once, for as long as it exists.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming `webhook_secret`, if there is none, if one is empty, or is `whsec_` without valid base64 after it, and
    /// if the registry has 65,535 other lists.
    pub fn with_secrets<I>(mut self, secrets: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let secrets = secrets.into_iter().map(Secret::new).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(Error::invalid("webhook_secret", "must not be an empty list"));
        }
        self.secrets = Some(self.notifier.add_secrets(secrets)?);
        Ok(self)
    }

    /// The same endpoint, which the daemon reaches at another URL.
    pub(crate) fn with_public_url(mut self, public_url: &str) -> Result<Self, Error> {
        self.public_url = BaseUrl::parse("public_url", public_url)?;
        Ok(self)
    }

    /// The listener that the endpoint owns.
    #[must_use]
    pub fn listener(&self) -> Option<&WebhookListener> {
        self.listener.as_deref()
    }

    /// The registry that the events reach.
    #[must_use]
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    pub(super) fn register(&self, submission: &Arc<SharedSubmission>) -> Result<TokenId, Error> {
        self.notifier.register(submission, self.secrets)
    }

    pub(super) fn callback_url(&self, token: TokenId) -> Option<String> {
        self.notifier.callback_url(self.public_url.as_str(), token)
    }

    /// The URL that tokens are appended to, without a trailing `/`.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public_url.as_str()
    }
}
