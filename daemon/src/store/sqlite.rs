//! Stores jobs in a SQLite file. A change that has returned survives a crash and a power failure.
//!
//! One thread writes. It takes all changes that have arrived as one group, commits the group with one sync, and then returns
//! the results, so that concurrent submitters share the cost of a sync. Another thread reads committed data over its own
//! connection. An index in memory contains the queue and the due events. It is loaded when the file is opened, and again
//! after a change or a commit fails.

mod db;
mod events;
mod group;
mod index;
mod maintenance;
mod open;
mod open_error;
mod row;
mod store;
mod streams;
#[cfg(test)]
pub(super) mod tests;
mod thread;

pub(crate) use self::open_error::OpenError;
pub(crate) use self::store::Sqlite;
