use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
#[cfg(feature = "sqlite")]
use std::path::Path;

use crate::{BoxError, InvalidValue};

/// The error of [`Builder::start`](crate::Builder::start), of the backends' builders, and of [`Daemon::failed`](crate::Daemon::failed).
///
/// The error is opaque; its predicates classify it. A running daemon reports failures by HTTP statuses, by a job's `error` and
/// by its log, not by this error.
///
/// `Display` is one lower-case phrase without the cause. The cause is in [`source`](StdError::source).
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<BoxError>,
}

#[derive(Debug)]
enum ErrorKind {
    Config {
        option: &'static str,
        reason: Cow<'static, str>,
    },
    Listen(SocketAddr),
    /// The whole message, which names the file or the database.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "sqlite")),
        expect(dead_code, reason = "only the feature has a store to open")
    )]
    Store(String),
    Failed(String),
}

impl Error {
    pub(crate) fn config(option: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: ErrorKind::Config { option, reason: reason.into() }, source: None }
    }

    pub(crate) fn listen(address: SocketAddr, source: std::io::Error) -> Self {
        Self { kind: ErrorKind::Listen(address), source: Some(source.into()) }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn store(path: &Path, error: crate::store::OpenError) -> Self {
        let message = error.message(path);
        Self { kind: ErrorKind::Store(message), source: error.into_source() }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn database(url: &crate::store::DatabaseUrl, error: crate::store::PostgresOpenError) -> Self {
        let message = error.message(url);
        Self { kind: ErrorKind::Store(message), source: error.into_source() }
    }

    pub(crate) fn failed(reason: &str) -> Self {
        Self { kind: ErrorKind::Failed(reason.to_owned()), source: None }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An option of a builder has an invalid value; [`option`](Self::option) names it.
    #[must_use]
    pub fn is_invalid_config(&self) -> bool {
        matches!(self.kind, ErrorKind::Config { .. })
    }

    /// The daemon cannot listen on its address: the port is in use, the address does not belong to this machine, or the process
    /// has no permission. The [source](StdError::source) is the [`std::io::Error`].
    #[must_use]
    pub fn is_listen(&self) -> bool {
        matches!(self.kind, ErrorKind::Listen(_))
    }

    /// The store cannot be opened: its file cannot be read or written, is damaged, is in use by another daemon, belongs to
    /// another program, or has a newer format; or its database cannot be reached, refuses the user, belongs to another program, or has a
    /// newer format.
    #[must_use]
    pub fn is_store(&self) -> bool {
        matches!(self.kind, ErrorKind::Store(_))
    }

    /// A running daemon cannot continue, by [`Daemon::failed`](crate::Daemon::failed).
    #[must_use]
    pub fn is_failed(&self) -> bool {
        matches!(self.kind, ErrorKind::Failed(_))
    }

    /// The name of the invalid option, which is that of the builder's method.
    #[must_use]
    pub fn option(&self) -> Option<&'static str> {
        match self.kind {
            ErrorKind::Config { option, .. } => Some(option),
            ErrorKind::Listen(_) | ErrorKind::Store(_) | ErrorKind::Failed(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ErrorKind::Config { option, reason } => write!(f, "invalid {option}: {reason}"),
            ErrorKind::Listen(address) => write!(f, "cannot listen on {address}"),
            ErrorKind::Store(message) => f.write_str(message),
            ErrorKind::Failed(reason) => write!(f, "the daemon cannot continue: {reason}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<InvalidValue> for Error {
    fn from(error: InvalidValue) -> Self {
        let (option, reason, source) = error.into_parts();
        Self { kind: ErrorKind::Config { option, reason }, source }
    }
}
