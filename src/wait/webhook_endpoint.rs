use crate::api::BaseUrl;
use crate::{Error, Notifier};

/// Where the daemon sends the events of the submissions of a [`WaitLayer`](super::WaitLayer): the registry that they reach, and the
/// URL of the receiver that feeds it.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    pub(super) notifier: Notifier,
    public_url: BaseUrl,
}

impl WebhookEndpoint {
    /// `public_url` is the URL at which the daemon reaches a [`WebhookReceiver`](crate::webhook::WebhookReceiver) of `notifier`. The
    /// callback URL of a submission is this URL, `/` and a token.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not an `http` or `https` URL with a host.
    pub fn new(notifier: Notifier, public_url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self { notifier, public_url: BaseUrl::parse("public_url", public_url.as_ref())? })
    }

    /// The URL that tokens are appended to, without a trailing `/`.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.public_url.as_str()
    }
}
