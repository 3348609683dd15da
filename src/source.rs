//! The sources of a completion: the [`Notifier`], which webhooks feed, and polls ([`PollStream`]).

mod notifier;
mod poll;
mod stats;

pub use self::notifier::Notifier;
pub(crate) use self::notifier::Recipient;
pub(crate) use self::poll::{Pace, Polling};
pub use self::poll::{PollPolicy, PollPolicyBuilder, PollStream};
pub use self::stats::{RefusalReason, WebhookStats};
