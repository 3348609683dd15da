use std::time::Duration;

use super::{Builder, LONGEST};
use crate::WebhookHosts;

/// Webhooks.
impl Builder {
    /// Sets the secret that signs webhooks, with foreman's signature and that of Standard Webhooks. Default: webhooks are not
    /// signed.
    pub fn webhook_secret(mut self, secret: impl Into<String>) -> Self {
        self.webhook_secret = Some(secret.into());
        self
    }

    /// Sets the pauses before the second attempt at an event, the third and so on. After the last attempt the event is given up.
    /// Each pause has a jitter of ±20 %. Default: 1 s, 5 s, 30 s, 2 min, 10 min, 30 min, then hourly for a day.
    pub fn webhook_retries(mut self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.webhook_retries = Some(pauses.into_iter().map(|pause| pause.min(LONGEST)).collect());
        self
    }

    /// Sets the number of webhooks that are sent concurrently, each of another job. Default: 64.
    pub fn webhooks_at_once(mut self, webhooks: usize) -> Self {
        self.webhooks_at_once = webhooks;
        self
    }

    /// Sets the number of webhooks that are sent concurrently to one destination: the scheme, host and port of a callback URL. With
    /// fewer than [in all](Self::webhooks_at_once), a receiver that does not respond leaves room for others. Default: a quarter of
    /// those in all, at least 1.
    ///
    /// After five consecutive attempts to a destination without a response or with a 5xx, its further events wait, whatever their
    /// retries. One at a time is sent as a probe, after 1 s at first and at most a minute, until the receiver responds.
    pub fn webhooks_per_host(mut self, webhooks: usize) -> Self {
        self.webhooks_per_host = Some(webhooks);
        self
    }

    /// Sends webhooks to these hosts only. A submission gets a 422 if its callback URL has an address or a name that can never be
    /// one of them. If its name resolves to an address that is not one of them, its events are given up and the job goes on.
    /// Default: all hosts.
    pub fn allow_webhook_hosts(mut self, hosts: WebhookHosts) -> Self {
        self.webhook_hosts = Some(hosts);
        self
    }

    /// Sets whether webhooks are sent to loopback and private networks (RFC 1918, 100.64.0.0/10, `fc00::/7`), where the callers of
    /// most daemons are. If not, a submission gets a 422 if its callback URL has such an address. The address that a name
    /// resolves to is checked for each connection, even if [the name is listed](Self::allow_webhook_hosts). Default: true.
    pub fn private_webhooks(mut self, private: bool) -> Self {
        self.private_webhooks = private;
        self
    }

    /// Sets whether webhooks may go to loopback addresses (127.0.0.0/8, `::1`) for every submitter, and by every name that resolves
    /// to one. Otherwise only a submission that came over loopback may name a loopback address or `localhost`; any other gets a 422.
    /// Another name that resolves to a loopback address gets no event then, unless [it is listed](Self::allow_webhook_hosts). A
    /// submission over a proxy on the same machine comes over loopback. Default: false.
    ///
    /// Webhooks are never sent to the daemon itself, nor to the [servers of its backend](crate::Backend::server).
    pub fn loopback_webhooks(mut self, everyone: bool) -> Self {
        self.loopback_webhooks = everyone;
        self
    }

    /// Adds root certificates (PEM) for receivers at `https`, such as that of a company's own authority. Those of the operating
    /// system are trusted too. A receiver whose certificate is not trusted, or is for another name, gets no event; the attempt
    /// counts as failed and is retried. Default: the operating system's only.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn webhook_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.webhook_roots = Some(pem.into());
        self
    }
}
