use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::BoxError;

/// A value is not valid in the protocol, or cannot be serialized as JSON.
///
/// `Display` prints `invalid {field}: {reason}`. The cause, if there is one, is the [`source`](Error::source).
#[derive(Debug)]
pub struct InvalidValue {
    field: &'static str,
    reason: Cow<'static, str>,
    source: Option<BoxError>,
}

impl InvalidValue {
    /// Creates an error about `field`, which is the name of a wire field or of an option.
    #[must_use]
    pub fn new(field: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { field, reason: reason.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The name of the wire field or of the option.
    #[must_use]
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Why the value is invalid.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Field, reason and cause, for conversion into another error type.
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
