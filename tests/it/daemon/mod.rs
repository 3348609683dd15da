//! The embedded daemon, seen from its sockets: requests are written by hand, and webhooks are received by hand.

mod cancel;
mod curl;
pub(crate) mod gate;
mod lifecycle;
mod list;
mod models;
mod observe;
mod poll;
pub(crate) mod raw;
pub(crate) mod receiver;
mod refusals;
mod submit;
mod webhook;
mod webhook_hosts;
mod worker;
