//! The command `foreman` as a process: what it prints where, and how it exits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in tests, but not in what tests share"
)]

mod artifacts;
mod credentials;
mod embedded;
mod jobs;
mod serve;
mod submit;
mod support;
#[cfg(unix)]
mod terminal;
mod wait;
