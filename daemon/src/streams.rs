//! Event streams: the changes of jobs, for the clients that hold a `GET /events` open.

mod channel;
mod event;
mod reader;
mod registry;

pub(crate) use self::event::check_name;
pub(crate) use self::registry::Streams;
