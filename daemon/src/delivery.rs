//! Webhooks: each change of a job's state is told to the address that its submission named.
//!
//! The store records an event together with the state that it tells of. Events of one job go out in their order, one at a
//! time; those of different jobs at once, up to a limit. One that is to be repeated waits in the store and holds up nobody
//! else's.

mod connect;
mod dispatch;
mod hosts;
mod judge;
mod literal;
mod policy;
#[cfg(feature = "tls")]
mod roots;
mod schedule;
mod sender;
#[cfg(feature = "tls")]
mod tls;

pub(super) use self::dispatch::deliver;
pub use self::hosts::WebhookHosts;
pub(super) use self::policy::Policy;
#[cfg(feature = "tls")]
pub(super) use self::roots::Roots;
pub(super) use self::schedule::Schedule;
pub(super) use self::sender::Sender;
