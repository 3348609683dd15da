use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::BoxError;

/// The backend cannot run jobs at present: it cannot be reached, it is starting, or it has too much to do.
///
/// A backend wraps such errors. The job that met one is queued again, behind those of other models, and the attempt does not
/// count against [`Builder::attempts`](crate::Builder::attempts). Until the backend is available no job is started. The daemon
/// lists its models to find out, after 1 s at first and then in pauses that double up to 1 min. Only if that fails with such an
/// error too, or takes 10 s, the backend is still unavailable.
///
/// ```
/// use std::error::Error as _;
/// use std::time::Duration;
///
/// use foreman_daemon::Unavailable;
///
/// let error = Unavailable::new("the GPU is in use")
///     .retry_after(Duration::from_secs(30));
/// assert_eq!(error.to_string(), "backend unavailable");
/// assert_eq!(error.source().unwrap().to_string(), "the GPU is in use");
/// ```
#[derive(Debug)]
pub struct Unavailable {
    cause: BoxError,
    retry_after: Option<Duration>,
}

impl Unavailable {
    /// Marks an error as the backend's and not the job's.
    #[must_use]
    pub fn new(cause: impl Into<BoxError>) -> Self {
        Self { cause: cause.into(), retry_after: None }
    }

    /// How long the backend asks to be left alone. Unless set, the pause depends on how often it was unavailable in a row. At most 10 min
    /// are observed.
    #[must_use]
    pub fn retry_after(mut self, pause: impl Into<Option<Duration>>) -> Self {
        self.retry_after = pause.into();
        self
    }

    /// The error, or the cause of it, that is one.
    pub(crate) fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref::<Self>())
    }

    /// What the backend asks for.
    pub(crate) fn asked_pause(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("backend unavailable")
    }
}

impl StdError for Unavailable {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}
