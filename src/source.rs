//! Where the completion of a job comes from: the [`Notifier`] that webhooks feed, and (in [`poll`]) asking.

mod notifier;
mod stats;

pub use self::notifier::Notifier;
pub(crate) use self::notifier::Slot;
pub use self::stats::{PushStats, Refusal};
