//! All integration tests in one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows them in tests, but not in what tests share"
)]

mod api;
mod client;
mod daemon;
mod poll;
mod stack;
mod support;
mod wait;
mod webhook;
