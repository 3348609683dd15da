//! All integration tests in one binary, which links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests are tests, too")]

mod api;
mod poll;
mod support;
mod wait;
mod webhook;
