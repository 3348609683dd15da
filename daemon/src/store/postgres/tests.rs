#[cfg(feature = "sqlite")]
mod agree;
mod boxes;
mod clock;
mod counts;
mod damage;
mod events;
mod faults;
mod feed;
mod fuse;
mod leases;
mod locked_submissions;
mod network;
mod open;
mod queue;
mod random_failures;
mod reported;
pub(super) mod support;
mod taking;
