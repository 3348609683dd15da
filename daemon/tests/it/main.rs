//! The daemon, seen from its sockets: requests are written by hand, and webhooks are received by hand. All integration tests in
//! one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in tests, but not in what tests share"
)]

mod attempts;
mod backend_ollama;
mod backend_openai;
mod cancel;
mod curl;
mod eventually;
mod faults;
mod gate;
mod lifecycle;
mod list;
mod model_server;
mod models;
mod observe;
mod owners;
mod poll;
mod queue;
mod raw;
mod receiver;
mod refusals;
mod store;
mod submit;
mod webhook;
mod webhook_hosts;
mod webhook_https;
mod worker;
