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
mod eventually;
mod forwarder;
mod gateway_axum;
mod gateway_tonic;
mod meanings;
mod poll;
mod problem;
mod stack;
mod status;
mod support;
mod unsent;
mod wait;
mod webhook;
