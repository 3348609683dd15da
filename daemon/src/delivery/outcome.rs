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
