use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::BoxError;

/// A value that the protocol does not allow, or that cannot be written as JSON.
///
/// `Display` is `invalid {field}: {reason}`, without the cause; the cause is in [`source`](Error::source).
#[derive(Debug)]
pub struct InvalidValue {
    field: &'static str,
    reason: Cow<'static, str>,
    source: Option<BoxError>,
}

impl InvalidValue {
    /// An error about `field`, a field on the wire or an option.
    #[must_use]
    pub fn new(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { field, reason: reason.into(), source: None }
    }

    /// The same error with a cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The field on the wire, or the option.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Why the value is refused.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The field, the reason and the cause, for an error type that includes this one.
    #[must_use]
    pub fn into_parts(self) -> (&'static str, Cow<'static, str>, Option<Box<dyn Error + Send + Sync>>) {
        (self.field, self.reason, self.source)
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid {}: {}", self.field, self.reason)
    }
}

impl Error for InvalidValue {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
