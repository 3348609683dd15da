//! What the tests stand on: a daemon played by a mock of the HTTP client, waits over it, and events without sockets.

mod body;
mod daemon;
mod push;
mod waits;

pub(crate) use self::body::AnswerBody;
pub(crate) use self::daemon::{Asked, Daemon, Http, NEVER, TestApi, exchange, seconds};
pub(crate) use self::push::Pushed;
pub(crate) use self::waits::{TestWait, attach, begin, called, exact, polling, request};
