use super::{Error, Kind};

/// What an [`Error`] means to somebody who called a server that called the daemon: the rows of the tables in
/// [`crate::error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The request cannot be sent as it is.
    Invalid,
    /// The daemon refused the request for good.
    Rejected,
    /// The daemon does not know the job.
    NotFound,
    /// The job has ended already.
    Conflict,
    /// The daemon has enough to do.
    TooMany,
    /// Something on the way has.
    Overloaded,
    /// The daemon does not have the function.
    Unsupported,
    /// A deadline passed.
    Deadline,
    /// The daemon could not be reached, and surely did nothing.
    Unreachable,
    /// The daemon, or the way to it, is at fault.
    Daemon,
    /// The job ran and failed.
    Failed,
}

impl Meaning {
    /// Those that invite to the same again are said only where that cannot become another job.
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
            Kind::Overloaded | Kind::Capacity(_) => Self::Overloaded,
            _ if error.is_timeout() => Self::Deadline,
            _ if error.is_rejected() => Self::Rejected,
            _ if error.is_not_found() => Self::NotFound,
            Kind::Status { status, .. } => match status.as_u16() {
                409 => Self::Conflict,
                429 => Self::TooMany,
                503 if error.retry_after().is_some() => Self::Overloaded,
                // 401 and 403 too: the token is the server's, and its caller cannot mend it.
                _ => Self::Daemon,
            },
            _ => Self::Daemon,
        }
    }

    /// What it is called where it is answered. The daemon's address is not told to those who need not know it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Invalid => "the request is invalid",
            Self::Rejected => "the daemon refused the request",
            Self::NotFound => "the job is not known",
            Self::Conflict => "the job has ended already",
            Self::TooMany => "too many jobs",
            Self::Overloaded => "overloaded",
            Self::Unsupported => "the daemon cannot do this",
            Self::Deadline => "the job did not finish in time",
            Self::Unreachable => "the daemon cannot be reached",
            Self::Daemon => "the daemon failed",
            Self::Failed => "the job failed",
        }
    }

    /// The details that are the caller's to know: what is wrong with the request, and why the job failed.
    pub(super) fn detail(self, error: &Error) -> Option<String> {
        match (self, error.kind()) {
            (Self::Invalid, Kind::Invalid { field, why }) => Some(format!("{field}: {why}")),
            (Self::Rejected | Self::Failed, _) => error.reason().map(str::to_owned),
            _ => None,
        }
    }

    /// How long the caller is to wait, in seconds, before the same again: what the daemon asked for, else one second.
    pub(super) fn retry_after(self, error: &Error) -> Option<u64> {
        let overloaded = matches!(self, Self::TooMany | Self::Overloaded);
        let asked = error.retry_after().map(|asked| asked.as_secs().max(1));
        if overloaded { asked.or(Some(1)) } else { asked }
    }
}
