//! Stores jobs in a PostgreSQL database, which any number of daemons share. A change that has returned survives a crash.
//!
//! A job that a daemon runs is leased to it. The daemon renews one [lease](lease) for all of its jobs; when it is gone, another daemon
//! queues them again, and the number of the attempt fences the outcomes of the daemon that lost them. All times are the database's.
//!
//! Each change is one statement, except submissions, which are committed in [groups](submit): a daemon that is frozen holds no lock.
//! The [feed](feed) finds the changes of other daemons, for those who watch a job, for event streams, workers and the dispatcher.

mod boxes;
mod cancels;
mod clock;
mod config;
mod connection;
mod events;
mod feed;
mod lease;
mod listener;
mod lock_wait;
mod maintenance;
mod migrate;
mod open;
mod open_error;
mod position;
mod renewal;
mod row;
mod shared_options;
mod snapshot;
mod store;
mod submit;
mod taking;
#[cfg(test)]
mod tests;

pub(crate) use self::config::DatabaseUrl;
pub(crate) use self::open::Membership;
pub(crate) use self::open_error::PostgresOpenError;
pub(crate) use self::shared_options::SharedOptions;
pub(crate) use self::store::Postgres;
