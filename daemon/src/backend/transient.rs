use std::error::Error as StdError;
use std::fmt;

use crate::BoxError;

/// A failure that may go away: the daemon runs the job again, by its policy.
///
/// A backend wraps what is worth another attempt (a model server that restarts, a stream that broke off); every other error
/// is final and becomes the job's `error`.
///
/// ```
/// use std::error::Error as _;
///
/// use foreman_daemon::Transient;
///
/// let error = Transient::new(std::io::Error::other("the GPU fell off the bus"));
/// assert_eq!(error.to_string(), "a failure that may go away");
/// assert_eq!(error.source().unwrap().to_string(), "the GPU fell off the bus");
/// ```
#[derive(Debug)]
pub struct Transient(BoxError);

impl Transient {
    /// Says of this error that it may go away.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for Transient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a failure that may go away")
    }
}

impl StdError for Transient {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// Whether the error, or one of its causes, was said to go away perhaps.
pub(crate) fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Transient>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::failure;

    #[test]
    fn it_is_found_below_other_errors() {
        let inner = || Transient::new("no memory");
        let layered = crate::InvalidValue::new("model", "cannot be loaded").with_source(inner());
        assert!(is_transient(&inner()) && is_transient(&layered));
        assert_eq!(failure(&layered), "invalid model: cannot be loaded: a failure that may go away: no memory");
        assert!(!is_transient(&crate::InvalidValue::new("model", "no")));
    }
}
