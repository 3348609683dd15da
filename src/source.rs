//! The sources of a completion: the [`Notifier`], which webhooks feed, polls ([`PollStream`]), and the event stream of the daemon.

mod client_secrets;
mod event_stream;
mod notifier;
mod poll;
mod stats;

pub(crate) use self::event_stream::{EventStream, Sample};
pub use self::notifier::Notifier;
pub(crate) use self::notifier::Recipient;
pub(crate) use self::poll::{Pace, Polling};
pub use self::poll::{PollPolicy, PollPolicyBuilder, PollStream};
pub use self::stats::{RefusalReason, WebhookStats};
