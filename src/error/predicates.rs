use http::StatusCode;

use super::Error;
use super::kind::{Arrival, Kind};

/// What kind of error it is.
impl Error {
    /// Something the caller gave is wrong; nothing was sent. The message names the field.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.0.kind, Kind::Invalid { .. })
    }

    /// The request surely did nothing: it was invalid, no connection was made, a layer shed it, or the daemon refused it
    /// (any 4xx but 408 and 409, or 503 with `Retry-After`). No job can have come of it.
    #[must_use]
    pub fn is_safe_to_resubmit(&self) -> bool {
        self.0.arrival == Arrival::Not && self.0.job_id.is_none()
    }

    /// The submission may have reached the daemon, and no job id is known: a job may be running that nobody waits for.
    ///
    /// To find it, call again with a clone of the same [`SubmitRequest`](crate::SubmitRequest); to start afresh, with
    /// [`renew`](crate::SubmitRequest::renew).
    #[must_use]
    pub fn is_maybe_submitted(&self) -> bool {
        self.0.arrival == Arrival::Unknown && self.0.key.is_some() && self.0.job_id.is_none()
    }

    /// A deadline or a time-out passed, of one exchange or of the whole wait.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, Kind::RequestTimeout(_) | Kind::Deadline(_))
    }

    /// The deadline of the wait passed ([`WaitLayer::deadline`](crate::Error)).
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        matches!(self.0.kind, Kind::Deadline(_))
    }

    /// No connection to the daemon could be made.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, Kind::Connect)
    }

    /// The daemon does not accept the token: 401 or 403. Check the token and whether it is allowed what was asked.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// The daemon does not know the job, or not any more: 404 or 410.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE))
            && !matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The daemon refused the request for good: a 4xx that will be the same next time (so not 401, 403, 404, 408, 409, 410,
    /// 425 and 429).
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        match self.0.kind {
            Kind::Status { status, .. } => {
                status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 409 | 410 | 425 | 429)
            }
            _ => false,
        }
    }

    /// Too much is going on, here or at the daemon: 429, 503 with `Retry-After`, load shed by a layer, or as many waiting
    /// jobs as the notifier allows.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        match &self.0.kind {
            Kind::Status { status, retry_after, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || (*status == StatusCode::SERVICE_UNAVAILABLE && retry_after.is_some())
            }
            Kind::Overloaded | Kind::Capacity(_) => true,
            _ => false,
        }
    }

    /// The daemon does not have what was asked for, such as cancelling or listing jobs.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.0.kind, Kind::Unsupported { .. })
    }

    /// The daemon answered something that cannot be understood: not JSON, cut off, of the wrong type, too large, without a
    /// usable job id.
    #[must_use]
    pub fn is_bad_response(&self) -> bool {
        matches!(self.0.kind, Kind::Response(_) | Kind::TooLarge(_))
    }

    /// The job itself failed (see [`JobResult::into_success`](crate::JobResult::into_success)).
    #[must_use]
    pub fn is_job_failed(&self) -> bool {
        matches!(self.0.kind, Kind::Failed(_))
    }

    /// The cause may pass: the same call may succeed later. Whether repeating it can run a job twice is another question,
    /// answered by [`is_safe_to_resubmit`](Error::is_safe_to_resubmit); a clone of the same request is always safe.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.0.kind {
            Kind::Connect | Kind::Transport | Kind::RequestTimeout(_) | Kind::Overloaded | Kind::Capacity(_) => true,
            Kind::Response(_) | Kind::Lost => true,
            Kind::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429),
            Kind::Invalid { .. }
            | Kind::Deadline(_)
            | Kind::TooLarge(_)
            | Kind::Unsupported { .. }
            | Kind::Bind(_)
            | Kind::Failed(_)
            | Kind::Service => false,
        }
    }
}
