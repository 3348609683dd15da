use std::time::Duration;

use http::StatusCode;

/// The result of one attempt at a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    Response {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    /// No response, or none before the timeout.
    Failed,
    /// The policy forbids the address that the host resolved to.
    Forbidden,
}

impl DeliveryOutcome {
    /// Whether the receiver works. `None` if nothing was sent to it.
    pub(super) fn receiver_works(&self) -> Option<bool> {
        match self {
            Self::Response { status, .. } => Some(!status.is_server_error()),
            Self::Failed => Some(false),
            Self::Forbidden => None,
        }
    }
}
