//! All integration tests in one binary, which links once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy.toml allows them in tests, but not in what tests share")]

mod daemon;
mod eventually;
mod forwarder;
mod gateway_axum;
mod gateway_tonic;
mod meanings;
mod problem;
mod status;
mod unsent;
mod webhook;
