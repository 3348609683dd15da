use crate::api::BaseUrl;
use crate::{Error, Notifier};

/// Where the daemon sends its events: the registry that they reach, and the URL under which it is reached.
#[derive(Debug, Clone)]
pub struct Push {
    pub(super) notifier: Notifier,
    base: BaseUrl,
}

impl Push {
    /// Events for `notifier` are sent to `public_url` followed by `/` and a token: the URL at which a
    /// [`WebhookReceiver`](crate::webhook::WebhookReceiver) of that notifier is mounted, as the daemon reaches it.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`] if it is not an `http` or `https` URL with a host.
    pub fn new(notifier: Notifier, public_url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self { notifier, base: BaseUrl::parse("public_url", public_url.as_ref())? })
    }

    /// The URL that tokens are appended to, without a trailing `/`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.base.as_str()
    }
}
