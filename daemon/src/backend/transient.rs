use std::error::Error as StdError;
use std::fmt;

use crate::BoxError;

/// A transient failure: the daemon makes another attempt, up to [`Builder::attempts`](crate::Builder::attempts).
///
/// A backend wraps the errors that another attempt may avoid, such as a model server that restarts or a lost connection. Any
/// other error is final and becomes the job's `error`.
///
/// ```
/// use std::error::Error as _;
///
/// use foreman_daemon::Transient;
///
/// let error = Transient::new(std::io::Error::other("GPU lost"));
/// assert_eq!(error.to_string(), "transient failure");
/// assert_eq!(error.source().unwrap().to_string(), "GPU lost");
/// ```
#[derive(Debug)]
pub struct Transient(BoxError);

impl Transient {
    /// Marks an error as transient.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Transient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transient failure")
    }
}

impl StdError for Transient {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// Whether the error or one of its causes is [`Transient`].
pub(crate) fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Transient>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::failure;

    #[test]
    fn transient_cause_is_found() {
        let inner = || Transient::new("no memory");
        let layered = crate::InvalidValue::new("model", "cannot be loaded").with_source(inner());
        assert!(is_transient(&inner()) && is_transient(&layered));
        assert_eq!(failure(&layered), "invalid model: cannot be loaded: transient failure: no memory");
        assert!(!is_transient(&crate::InvalidValue::new("model", "no")));
    }
}
