#[cfg(feature = "sqlite")]
mod agree;
mod boxes;
mod events;
mod faults;
mod leases;
mod open;
mod queue;
mod support;
