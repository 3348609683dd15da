//! Polling the state of a job: [`PollStream`], and how often it polls ([`PollPolicy`]).

mod attempt;
mod long_polls;
mod pacer;
mod policy;
mod schedule;
mod stream;

pub(crate) use self::attempt::Polling;
pub use self::policy::{PollPolicy, PollPolicyBuilder};
pub(crate) use self::schedule::Pace;
pub use self::stream::PollStream;
