//! The command `foreman` as a process: its output and its exit status.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in test functions only"
)]

mod access;
mod artifacts;
mod credentials;
mod daemon_process;
mod embedded;
mod jobs;
#[cfg(unix)]
mod open_files;
mod serve;
mod several;
mod submit;
mod support;
#[cfg(unix)]
mod terminal;
mod wait;
