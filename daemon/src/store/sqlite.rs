//! Jobs in a SQLite file: what was answered survives a crash and a loss of power.
//!
//! One thread writes. It takes whatever has come meanwhile as one group, commits it with one sync of the disk, and only then
//! lets anybody know, so that many submitters share the price of one. Another thread reads what is committed, by a
//! connection of its own. What waits (the queue, the events that are due) is indexed in memory; it is read from the file at
//! the start, and again should a group fail to commit.

mod db;
mod events;
mod group;
mod index;
mod open;
mod open_error;
mod row;
mod store;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use self::open_error::OpenError;
pub(crate) use self::store::Sqlite;
