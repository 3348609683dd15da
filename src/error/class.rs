use super::{Error, Kind};

/// The class of an [`Error`] for the callers of a server: one for each row of the tables in [`crate::error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// The request is invalid; nothing was sent.
    Invalid,
    /// The daemon rejected the request.
    Rejected,
    /// The daemon does not know the job.
    NotFound,
    /// The job is terminal already.
    Conflict,
    /// The daemon limits the rate of requests.
    TooMany,
    /// The daemon or a layer is overloaded.
    Overloaded,
    /// The daemon does not support the extension.
    Unsupported,
    /// A deadline or timeout passed.
    Deadline,
    /// This server shuts down, and nothing was submitted.
    Stopping,
    /// This server shuts down, and the job goes on.
    Interrupted,
    /// The daemon is unreachable, and no job may be running.
    Unreachable,
    /// The daemon or the connection to it failed.
    Daemon,
    /// The job ran and failed.
    Failed,
}

impl ErrorClass {
    /// A class that invites a repeat is returned only where a repeat cannot submit another job.
    pub(super) fn of(error: &Error) -> Self {
        match Self::of_kind(error) {
            Self::TooMany | Self::Overloaded | Self::Unreachable if error.may_be_running() => Self::Daemon,
            meaning => meaning,
        }
    }

    fn of_kind(error: &Error) -> Self {
        match error.kind() {
            Kind::Invalid { .. } => Self::Invalid,
            Kind::Unsupported { .. } => Self::Unsupported,
            Kind::Failed(_) => Self::Failed,
            Kind::Connect => Self::Unreachable,
            Kind::Overloaded | Kind::Capacity(_) | Kind::SlowDown(_) | Kind::NoDaemon { .. } => Self::Overloaded,
            Kind::ShuttingDown if error.may_be_running() => Self::Interrupted,
            Kind::ShuttingDown => Self::Stopping,
            _ if error.is_timeout() => Self::Deadline,
            _ if error.is_rejected() => Self::Rejected,
            _ if error.is_not_found() => Self::NotFound,
            Kind::Status { status, .. } => match status.as_u16() {
                409 => Self::Conflict,
                429 => Self::TooMany,
                503 if error.retry_after().is_some() => Self::Overloaded,
                // 401 and 403 too: the token is the server's, and its caller cannot change it.
                _ => Self::Daemon,
            },
            _ => Self::Daemon,
        }
    }

    /// The title of the problem details. It does not contain the address of the daemon.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Invalid => "invalid request",
            Self::Rejected => "the daemon rejected the request",
            Self::NotFound => "unknown job",
            Self::Conflict => "the job is terminal already",
            Self::TooMany => "too many jobs",
            Self::Overloaded => "overloaded",
            Self::Unsupported => "not supported by the daemon",
            Self::Deadline => "the job did not finish in time",
            Self::Stopping => "shutting down",
            Self::Interrupted => "shutting down before the job finished",
            Self::Unreachable => "the daemon is unreachable",
            Self::Daemon => "the daemon failed",
            Self::Failed => "the job failed",
        }
    }

    /// The detail of the problem: the reason why the request is invalid or the job failed.
    pub(super) fn detail(self, error: &Error) -> Option<String> {
        match (self, error.kind()) {
            (Self::Invalid, Kind::Invalid { field, reason }) => Some(format!("{field}: {reason}")),
            (Self::Rejected | Self::Failed, _) => error.reason().map(str::to_owned),
            _ => None,
        }
    }

    /// `Retry-After`, in seconds: the one of the daemon, else 1.
    pub(super) fn retry_after(self, error: &Error) -> Option<u64> {
        let overloaded = matches!(self, Self::TooMany | Self::Overloaded | Self::Stopping);
        let asked = error.retry_after().map(|asked| asked.as_secs().max(1));
        if overloaded { asked.or(Some(1)) } else { asked }
    }
}
