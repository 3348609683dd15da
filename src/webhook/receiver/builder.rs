use std::time::Duration;

use foreman_protocol::webhook::Secret;

use super::WebhookReceiver;
use crate::webhook::verify::Verifier;
use crate::{Error, Notifier};

/// Builds a [`WebhookReceiver`]; made by [`WebhookReceiver::builder`].
///
/// The first thing that is wrong is kept and told by [`build`](WebhookReceiverBuilder::build).
#[derive(Debug)]
#[must_use]
pub struct WebhookReceiverBuilder {
    notifier: Notifier,
    secrets: Vec<Secret>,
    limits: Limits,
    tolerance: Duration,
    wrong: Option<Error>,
}

/// What a receiver takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_body: usize,
    pub(super) read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 8 << 20, read_timeout: Duration::from_secs(10) }
    }
}

impl WebhookReceiverBuilder {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            secrets: Vec::new(),
            limits: Limits::default(),
            tolerance: Duration::from_secs(300),
            wrong: None,
        }
    }

    /// Adds a secret (see [`Secret::new`]) that events may be signed with. With one or more set, an event that is signed with
    /// none of them is refused. None unless set.
    pub fn secret(mut self, secret: impl AsRef<str>) -> Self {
        self.add(secret.as_ref());
        self
    }

    /// Adds several secrets at once, the old and the new one while they are being changed.
    ///
    /// An empty list is an error, as it would silently turn verification off.
    pub fn secrets<I>(mut self, secrets: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut none = true;
        for secret in secrets {
            none = false;
            self.add(secret.as_ref());
        }
        if none {
            self.wrong.get_or_insert_with(|| Error::invalid("webhook_secret", "must be one or more"));
        }
        self
    }

    /// The largest body that is taken, in bytes; 8 MiB unless set, since results carry artifacts.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.limits.max_body = bytes;
        self
    }

    /// How long reading a body may take, from its headers to its end; 10 s unless set.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.limits.read_timeout = timeout;
        self
    }

    /// How far the `webhook-timestamp` of an event may be from now, to either side, in whole seconds; 300 s unless set.
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The receiver, checked.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid`], naming the field, for a secret that is none, a body limit or time-out of zero, and a tolerance
    /// under a second.
    pub fn build(self) -> Result<WebhookReceiver, Error> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.limits.max_body == 0 {
            return Err(Error::invalid("max_body", "must not be zero"));
        }
        if self.limits.read_timeout.is_zero() {
            return Err(Error::invalid("read_timeout", "must not be zero"));
        }
        if self.tolerance < Duration::from_secs(1) {
            return Err(Error::invalid("tolerance", "must be a second or more"));
        }
        let verifier = (!self.secrets.is_empty()).then(|| Verifier::new(self.secrets, self.tolerance));
        Ok(WebhookReceiver::with(self.notifier, verifier, self.limits))
    }

    fn add(&mut self, secret: &str) {
        match Secret::new(secret) {
            Ok(secret) => self.secrets.push(secret),
            Err(error) => {
                self.wrong.get_or_insert(error.into());
            }
        }
    }
}
