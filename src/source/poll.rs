//! Asking for the state of a job: [`PollStream`], and when it asks ([`PollPolicy`]).

mod flight;
mod policy;
mod polling;
mod schedule;
mod stream;

pub use self::policy::{PollPolicy, PollPolicyBuilder};
pub(crate) use self::polling::Polling;
pub(crate) use self::schedule::Pace;
pub use self::stream::PollStream;
