//! `foreman serve`: runs a daemon until a signal stops it.

mod command;
mod log;
mod store_location;

pub(crate) use self::command::Serve;
