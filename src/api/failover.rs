//! Several addresses of one queue below one [`Api`](super::Api).

mod addresses;
mod attempt;
mod future;
mod health;
mod layer;
mod left;
mod queue;
mod service;
mod tried;

pub(crate) use self::addresses::Addresses;
pub use self::future::FailoverFuture;
pub use self::layer::FailoverLayer;
pub(super) use self::left::UntilLeft;
pub(crate) use self::queue::FOREMAN_QUEUE;
pub use self::service::Failover;
pub(crate) use self::tried::Tried;
