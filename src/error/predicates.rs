use http::StatusCode;

use super::Error;
use super::kind::{Arrival, Kind};

/// # Predicates
impl Error {
    /// An argument or option is invalid; nothing was sent. The message names it.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, Kind::Invalid { .. })
    }

    /// The request surely had no effect, so that sending it again cannot run a job twice: it was invalid, there was no connection, a
    /// layer shed it, or the daemon refused it (3xx, any 4xx except 408 and 409, or 503 with `Retry-After`).
    ///
    /// It does not mean that sending it again will succeed: see [`is_retryable`](Error::is_retryable).
    #[must_use]
    pub fn is_safe_to_resubmit(&self) -> bool {
        self.0.arrival == Arrival::Not && self.0.job_id.is_none()
    }

    /// The submission may have reached the daemon, and the job id is not known.
    ///
    /// To find the job, call again with a clone of the same [`SubmitRequest`](crate::SubmitRequest). To run another one, call with
    /// [`renew`](crate::SubmitRequest::renew).
    #[must_use]
    pub fn is_maybe_submitted(&self) -> bool {
        self.0.arrival == Arrival::Unknown && self.0.key.is_some() && self.0.job_id.is_none()
    }

    /// A timeout of one request or the deadline of the wait passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::RequestTimeout(_) | Kind::Deadline(_))
    }

    /// The deadline of the wait passed ([`WaitLayerBuilder::deadline`](crate::wait::WaitLayerBuilder::deadline)).
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline(_))
    }

    /// There was no connection to the daemon.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, Kind::Connect)
    }

    /// The daemon does not accept the token: it returned 401 or 403. Check the token and its permissions.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// The daemon does not know the job: it returned 404 or 410.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE))
            && !matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The daemon rejected the request, and would again: it returned a 4xx other than 401, 403, 404, 408, 409, 410, 425 and 429.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        match self.0.kind {
            Kind::Status { status, .. } => {
                status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 409 | 410 | 425 | 429)
            }
            _ => false,
        }
    }

    /// The daemon or this process is overloaded: the daemon returned 429 or 503 with `Retry-After`, a layer shed load, the webhook
    /// registry is full, or no daemon of a [`Pool`](crate::Pool) is available.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        match &self.0.kind {
            Kind::Status { status, retry_after, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || (*status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some())
            }
            Kind::Overloaded | Kind::Capacity(_) | Kind::SlowDown(_) | Kind::NoDaemon { .. } => true,
            _ => false,
        }
    }

    /// The service was shut down ([`Client::shutdown`](crate::Client::shutdown)). If the job was accepted, it goes on:
    /// [`Error::may_be_running`] and [`Error::job_id`] say so.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        matches!(self.0.kind, Kind::ShuttingDown)
    }

    /// The daemon does not support the extension, such as cancelling or listing jobs.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The response cannot be used: it is not JSON, cut off, of the wrong type, too large, or without a valid job id.
    #[must_use]
    pub fn is_bad_response(&self) -> bool {
        matches!(self.0.kind, Kind::Response(_) | Kind::TooLarge(_))
    }

    /// The submission belongs to another daemon than the one of this wait: a daemon accepted it, or may have. Nothing was sent here.
    /// [`Error::daemon`] is that daemon. To run the conversation here too, call with [`renew`](crate::SubmitRequest::renew).
    #[must_use]
    pub fn is_other_daemon(&self) -> bool {
        matches!(self.0.kind, Kind::OtherDaemon)
    }

    /// The daemon that may have the job cannot be reached, or has left the [`Pool`](crate::Pool). [`Error::daemon`] is that daemon, and
    /// [`Error::job_id`] the job, if it is known. The job may still run there: to run the conversation at another daemon too, call with
    /// [`renew`](crate::SubmitRequest::renew).
    ///
    /// Only errors of a pool are of this kind. It may be transient: see [`is_retryable`](Error::is_retryable).
    #[must_use]
    pub fn is_daemon_gone(&self) -> bool {
        self.0.gone || matches!(self.0.kind, Kind::DaemonGone)
    }

    /// The job ran and failed (see [`JobResult::into_success`](crate::JobResult::into_success)).
    #[must_use]
    pub fn is_job_failed(&self) -> bool {
        matches!(self.0.kind, Kind::Failed(_))
    }

    /// The failure is transient: the same call may succeed later.
    ///
    /// A call with a clone of the same request is always safe, since it attaches to the job if there is one. Whether a *new* request
    /// could run the job twice is a question for [`is_safe_to_resubmit`](Error::is_safe_to_resubmit).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.0.kind {
            Kind::Connect | Kind::Transport | Kind::RequestTimeout(_) | Kind::Overloaded | Kind::Capacity(_) => true,
            Kind::SlowDown(_) | Kind::NoDaemon { .. } => true,
            Kind::Response(_) => true,
            Kind::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429),
            Kind::Invalid { .. }
            | Kind::Deadline(_)
            | Kind::TooLarge(_)
            | Kind::Unsupported { .. }
            | Kind::Bind(_)
            | Kind::OtherDaemon
            | Kind::DaemonGone
            | Kind::EmptyPool
            // All that may be tried was tried.
            | Kind::Lost
            | Kind::ShuttingDown
            | Kind::Abandoned
            | Kind::Failed(_)
            | Kind::Service => false,
        }
    }
}
