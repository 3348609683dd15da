use std::sync::Arc;

use crate::submission::TokenId;
use crate::webhook::WebhookListener;
use crate::{Error, Notifier};
use foreman_protocol::BaseUrl;

/// Where the daemon sends the events of the submissions of a [`WaitLayer`](super::WaitLayer): the registry that they reach, and the
/// URL of the receiver that feeds it.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    pub(super) notifier: Notifier,
    public_url: BaseUrl,
    listener: Option<Arc<WebhookListener>>,
}

impl WebhookEndpoint {
    /// `public_url` is the URL at which the daemon reaches a [`WebhookReceiver`](crate::webhook::WebhookReceiver) of `notifier`. The
    /// callback URL of a submission is this URL, `/` and a token.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not an `http` or `https` URL with a host.
    pub fn new(notifier: Notifier, public_url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self { notifier, public_url: BaseUrl::parse("public_url", public_url.as_ref())?, listener: None })
    }

    /// Makes the endpoint own the listener that serves it. The listener stays open as long as a wait service uses the endpoint, or a
    /// submission whose callback URL it is; otherwise the URL could pass to another process while the daemon still sends events to
    /// it.
    #[must_use]
    pub fn with_listener(mut self, listener: WebhookListener) -> Self {
        self.listener = Some(Arc::new(listener));
        self
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

    pub(super) fn callback_url(&self, token: TokenId) -> Option<String> {
        self.notifier.callback_url(self.public_url.as_str(), token)
    }

    /// The URL that tokens are appended to, without a trailing `/`.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public_url.as_str()
    }
}
