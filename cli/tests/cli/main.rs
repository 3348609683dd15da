//! The command `foreman` as a process: its output and its exit status.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in test functions only"
)]

mod access;
mod admin;
mod artifacts;
mod credentials;
mod daemon_process;
mod embedded;
mod jobs;
#[cfg(unix)]
mod open_files;
#[cfg(all(unix, feature = "postgres"))]
#[path = "../../../daemon/tests/it/postgres_server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres_server;
mod serve;
mod several;
mod submit;
mod support;
#[cfg(unix)]
mod terminal;
mod wait;
