//! `foreman serve`: runs a daemon until a signal stops it.

mod command;
mod log;
mod open_files;
mod queue_args;
mod store_location;
mod unechoed;

pub(crate) use self::command::Serve;
