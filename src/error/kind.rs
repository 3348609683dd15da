use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

/// The longest `Retry-After` of a submission that is obeyed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Whether the request that failed reached the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It surely did not, or the daemon surely did nothing with it.
    Not,
    /// It may have.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// An argument or option is invalid.
    Invalid { field: &'static str, reason: Cow<'static, str> },
    /// No connection.
    Connect,
    /// The connection was lost, or the response was cut off.
    Transport,
    /// One HTTP request took too long. Without a duration, a service or layer below reported it.
    RequestTimeout(Option<Duration>),
    /// The deadline of a wait passed.
    Deadline(Duration),
    /// A response with a status other than the one of success.
    Status { status: StatusCode, reason: Option<String>, retry_after: Option<Duration> },
    /// A response that cannot be used.
    Response(Cow<'static, str>),
    /// A response over the limit, in bytes.
    TooLarge(usize),
    /// The daemon does not support the extension.
    Unsupported { feature: &'static str, status: StatusCode },
    /// The webhook listener cannot be bound to this address.
    Bind(SocketAddr),
    /// The webhook registry is full. Its capacity.
    Capacity(usize),
    /// A layer sheds load.
    Overloaded,
    /// The daemon has asked another request to wait that long, and the deadline passes before that.
    SlowDown(Duration),
    /// The wait service shuts down.
    ShuttingDown,
    /// The last wait is gone, and no job id is known.
    Abandoned,
    /// The submission may have arrived. No response and no event names its job.
    Lost,
    /// The submission belongs to another daemon, which may have it.
    OtherDaemon,
    /// No daemon of a pool is available for this model, as far as is known for that long.
    NoDaemon { model: Box<str>, pause: Option<Duration> },
    /// A pool has no daemons, and will get none.
    EmptyPool,
    /// The daemon that may have the submission is not in the pool.
    DaemonGone,
    /// The job ran and failed.
    Failed(String),
    /// A service in the stack failed with an error that this crate does not know.
    Service,
}

impl Kind {
    /// The daemon was asked, and has not responded.
    pub(crate) fn is_no_response(&self) -> bool {
        matches!(self, Self::Connect | Self::Transport | Self::RequestTimeout(_))
    }

    pub(super) fn arrival(&self) -> Arrival {
        match self {
            Self::Invalid { .. } | Self::Connect | Self::Bind(_) | Self::Capacity(_) | Self::Overloaded => Arrival::Not,
            Self::SlowDown(_) | Self::NoDaemon { .. } | Self::EmptyPool => Arrival::Not,
            // A server may return 408 or 409 to a request that it is working on. A proxy returns 503 without `Retry-After` if the
            // upstream connection broke in the middle of a request.
            Self::Status { status, retry_after, .. } => match status.as_u16() {
                // 303 refers to the outcome of a request that was processed.
                303 | 408 | 409 => Arrival::Unknown,
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
            | Self::ShuttingDown
            | Self::Abandoned
            | Self::OtherDaemon
            | Self::DaemonGone
            | Self::Failed(_)
            | Self::Service => Arrival::Unknown,
        }
    }
}
