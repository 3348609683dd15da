//! Where the completion of a job comes from: the [`Notifier`] that webhooks feed, and asking ([`PollStream`]).

mod notifier;
mod poll;
mod stats;

pub use self::notifier::Notifier;
pub(crate) use self::notifier::Slot;
pub(crate) use self::poll::{Pace, Polling};
pub use self::poll::{PollPolicy, PollPolicyBuilder, PollStream};
pub use self::stats::{PushStats, Refusal};
