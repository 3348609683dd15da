//! The embedded daemon, seen from its sockets: requests are written by hand, and webhooks are received by hand.

mod attempts;
mod backend_ollama;
mod backend_openai;
mod cancel;
mod curl;
mod faults;
pub(crate) mod gate;
mod lifecycle;
mod list;
pub(crate) mod model_server;
mod models;
mod observe;
mod owners;
mod poll;
mod queue;
pub(crate) mod raw;
pub(crate) mod receiver;
mod refusals;
mod store;
mod submit;
mod webhook;
mod webhook_hosts;
mod webhook_https;
mod worker;
