//! `foreman serve`: a daemon until it is told to end.

mod command;
mod place;

pub(crate) use self::command::Serve;
