//! Signatures of webhooks.
//!
//! The daemon signs each webhook twice with the same [`Secret`]: once for foreman's own header `X-Foreman-Signature`, and once
//! as [Standard Webhooks](https://www.standardwebhooks.com) defines. A receiver needs to verify only one of them.
//!
//! | signature | headers | signed content | replay protection |
//! |---|---|---|---|
//! | foreman | `X-Foreman-Signature` | the body | none |
//! | Standard Webhooks | `webhook-id`, `webhook-timestamp`, `webhook-signature` | id, timestamp and body | the timestamp |
//!
//! Both signatures are HMAC-SHA256 (RFC 2104).

pub mod hex;
mod secret;
mod signature;

pub use self::secret::Secret;
pub use self::signature::Signature;

use http::HeaderName;

/// Header of foreman's own signature, `sha256=HEX`.
pub const FOREMAN_SIGNATURE: HeaderName = HeaderName::from_static("x-foreman-signature");

/// Header of Standard Webhooks with the id of the event. All attempts to deliver an event have the same id.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// Header of Standard Webhooks with the time of the attempt, in seconds since the Unix epoch.
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");

/// Header of Standard Webhooks with one or more signatures. Each is `VERSION,BASE64`; a space separates them.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
