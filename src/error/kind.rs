use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

/// Whether the request whose failure this is reached the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It surely did not, or the daemon surely did nothing with it.
    Not,
    /// It may have.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Something given by the caller is wrong.
    Invalid { field: &'static str, why: Cow<'static, str> },
    /// No connection.
    Connect,
    /// The connection broke, or the answer was cut off.
    Transport,
    /// One HTTP exchange took too long; without a duration it was a `tower::timeout` that said so.
    RequestTimeout(Option<Duration>),
    /// The deadline of a wait passed.
    Deadline(Duration),
    /// An answer with a status that means no.
    Status { status: StatusCode, reason: Option<String>, retry_after: Option<Duration> },
    /// A response that cannot be used.
    Response(Cow<'static, str>),
    /// An answer over the limit, in bytes.
    TooLarge(usize),
    /// The daemon does not know the extension.
    Unsupported { what: &'static str, status: StatusCode },
    /// The listener for webhooks cannot have its address.
    Bind(SocketAddr),
    /// More jobs wait than the notifier allows.
    Capacity(usize),
    /// A layer sheds load.
    Overloaded,
    /// The answer to a submission was lost and nothing told what became of it.
    Lost,
    /// The job ran and failed.
    Failed(String),
    /// A service in the stack failed in a way this crate does not know.
    Service,
}

impl Kind {
    pub(super) fn arrival(&self) -> Arrival {
        match self {
            Self::Invalid { .. } | Self::Connect | Self::Bind(_) | Self::Capacity(_) | Self::Overloaded => Arrival::Not,
            // 408 and 409 may be said of a request that is being worked on; a 503 without Retry-After is what a proxy
            // says whose upstream went away in the middle.
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                408 | 409 => Arrival::Unknown,
                300..=499 => Arrival::Not,
                503 if retry_after.is_some() => Arrival::Not,
                _ => Arrival::Unknown,
            },
            Self::Unsupported { .. } => Arrival::Not,
            Self::Transport
            | Self::RequestTimeout(_)
            | Self::Deadline(_)
            | Self::Response(_)
            | Self::TooLarge(_)
            | Self::Lost
            | Self::Failed(_)
            | Self::Service => Arrival::Unknown,
        }
    }
}
