//! How the daemon signs its webhooks, and how a receiver computes the same signature.

mod secret;
mod signature;

pub use self::secret::Secret;
pub use self::signature::Signature;

use http::HeaderName;

/// The header of foreman's own signature: `sha256=HEX`.
pub const FOREMAN_SIGNATURE: HeaderName = HeaderName::from_static("x-foreman-signature");

/// The header of Standard Webhooks with the id of the event, the same at each attempt to deliver it.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// The header of Standard Webhooks with the time of the attempt, in seconds since the Unix epoch.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");

/// The header of Standard Webhooks with the signatures, each as `VERSION,BASE64`, separated by blanks.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
