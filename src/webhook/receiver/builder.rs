use std::time::Duration;

use foreman_protocol::http1::BodyBytes;
use foreman_protocol::webhook::Secret;

use super::WebhookReceiver;
use crate::{Error, Notifier};

/// The tolerance of timestamps unless set otherwise.
pub(super) const TOLERANCE: Duration = Duration::from_secs(300);

/// Builds a [`WebhookReceiver`].
///
/// Created by [`WebhookReceiver::builder`]. All options have defaults. The setters accept any value;
/// [`build`](WebhookReceiverBuilder::build) checks them and returns the error.
///
/// ```
/// use std::time::Duration;
///
/// use foreman_client::Notifier;
/// use foreman_client::webhook::WebhookReceiver;
///
/// let receiver = WebhookReceiver::builder(Notifier::new())
///     .secrets(["the new secret", "the old secret"])
///     .max_body(32 << 20)
///     .tolerance(Duration::from_secs(60))
///     .build()?;
/// # let _: WebhookReceiver = receiver;
/// # Ok::<(), foreman_client::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct WebhookReceiverBuilder {
    notifier: Notifier,
    secrets: Vec<Secret>,
    limits: ReceiverLimits,
    tolerance: Duration,
    /// The first invalid secret.
    error: Option<Error>,
}

/// The limits on the body of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiverLimits {
    /// In bytes.
    pub(super) max_body: usize,
    pub(super) read_timeout: Duration,
    /// In bytes, of all bodies. `None` if it follows from the other limit.
    pub(super) body_budget: Option<usize>,
}

impl ReceiverLimits {
    pub(super) fn body_budget(&self) -> usize {
        self.body_budget.unwrap_or_else(|| self.max_body.saturating_mul(4).max(128 << 20))
    }
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self { max_body: 8 << 20, read_timeout: Duration::from_secs(10), body_budget: None }
    }
}

impl WebhookReceiverBuilder {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self { notifier, secrets: Vec::new(), limits: ReceiverLimits::default(), tolerance: TOLERANCE, error: None }
    }

    /// Adds a secret that events may be signed with. See [`Secret::new`] for its format.
    ///
    /// Without a secret, which is the default, the receiver accepts unsigned events and treats them as hints. With one
    /// or more, it refuses an event that none of them has signed.
    ///
    /// They are for the clients that have none of their own. A client with a
    /// [`webhook_secret`](crate::ClientBuilder::webhook_secret) and this notifier has its events verified with that secret, and not
    /// with these.
    pub fn secret(mut self, secret: impl AsRef<str>) -> Self {
        self.push_secret(secret.as_ref());
        self
    }

    /// Adds several secrets. During a rotation, these are the new and the old one.
    ///
    /// An empty list is an error, because it would disable verification without notice.
    pub fn secrets<I>(mut self, secrets: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut empty = true;
        for secret in secrets {
            empty = false;
            self.push_secret(secret.as_ref());
        }
        if empty {
            self.error.get_or_insert_with(|| Error::invalid("webhook_secret", "must not be an empty list"));
        }
        self
    }

    /// Sets the maximum size of a body, in bytes. The default is 8 MiB.
    ///
    /// The body contains the result of the job with its artifacts. The receiver refuses a larger body with 413, and the
    /// wait then gets the result by a poll.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits.max_body = bytes;
        self
    }

    /// Sets how many bytes the buffers of all bodies have together that do not arrive at once. The default is 128 MiB, or four times
    /// [`max_body`](Self::max_body) if that is more.
    ///
    /// A body counts twice, since a buffer that grows has room for as much again, so this is at least twice
    /// [`max_body`](Self::max_body). The receiver refuses a body beyond that with 503 and `Retry-After`.
    pub fn body_budget(mut self, bytes: usize) -> Self {
        self.limits.body_budget = Some(bytes);
        self
    }

    /// Sets the timeout for reading a body, counted from the end of the headers. The default is 10 s.
    ///
    /// The receiver refuses a body that takes longer with 408. A timeout that is too long for the clock to represent,
    /// such as [`Duration::MAX`], means no timeout.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.limits.read_timeout = timeout;
        self
    }

    /// Sets the maximum difference between `webhook-timestamp` and the system clock, in the past or in the future. The
    /// default is 300 s.
    ///
    /// A fraction of a second is cut off. The tolerance has no effect on an event that is signed only by
    /// `X-Foreman-Signature`, because that signature covers no timestamp.
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Builds the receiver.
    ///
    /// # Errors
    ///
    /// Returns an error for which [`Error::is_invalid`] is `true`, and which names the option, if
    ///
    /// - a secret is empty, or is `whsec_` without valid base64 after it (`webhook_secret`),
    /// - [`secrets`](Self::secrets) was called with an empty list (`webhook_secret`),
    /// - [`max_body`](Self::max_body) or [`read_timeout`](Self::read_timeout) is zero,
    /// - [`body_budget`](Self::body_budget) is less than twice [`max_body`](Self::max_body),
    /// - [`tolerance`](Self::tolerance) is less than 1 s.
    ///
    /// A receiver without a secret is not an error.
    pub fn build(self) -> Result<WebhookReceiver, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.limits.max_body == 0 {
            return Err(Error::invalid("max_body", "must not be zero"));
        }
        if self.limits.body_budget.is_some_and(|budget| budget < BodyBytes::memory(self.limits.max_body)) {
            return Err(Error::invalid("body_budget", "must be at least twice max_body"));
        }
        if self.limits.read_timeout.is_zero() {
            return Err(Error::invalid("read_timeout", "must not be zero"));
        }
        if self.tolerance < Duration::from_secs(1) {
            return Err(Error::invalid("tolerance", "must be at least 1 second"));
        }
        Ok(WebhookReceiver::from_parts(self.notifier, self.secrets, self.tolerance, self.limits))
    }

    fn push_secret(&mut self, secret: &str) {
        match Secret::new(secret) {
            Ok(secret) => self.secrets.push(secret),
            Err(error) => {
                self.error.get_or_insert(error.into());
            }
        }
    }
}
