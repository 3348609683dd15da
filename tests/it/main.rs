//! All integration tests in one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in tests, but not in what tests share"
)]

mod api;
mod client;
#[path = "../../daemon/tests/it/eventually.rs"]
mod eventually;
mod forwarder;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest")]
#[path = "../../daemon/tests/it/gate.rs"]
mod gate;
mod gateway_axum;
mod gateway_tonic;
mod hostile;
mod meanings;
mod poll;
mod problem;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest")]
#[path = "../../daemon/tests/it/raw.rs"]
mod raw;
mod stack;
mod status;
mod support;
mod unsent;
mod wait;
mod webhook;
