//! Tests of the daemon over its sockets. Requests are written and webhooks are received by hand, without the client. All
//! integration tests are one binary, which links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in tests, but not in helpers"
)]

mod attempts;
mod backend_ollama;
mod backend_openai;
mod boxes;
mod cancel;
mod connections;
mod curl;
#[cfg(feature = "postgres")]
#[allow(dead_code, reason = "other tests use the rest")]
mod database_proxy;
mod events;
mod eventually;
mod fairness;
mod faults;
#[cfg(feature = "postgres")]
mod fleet;
mod gate;
mod lifecycle;
mod list;
mod loaded;
mod model_server;
mod models;
mod observe;
mod owners;
mod poll;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_disk;
#[cfg(feature = "postgres")]
mod postgres_partition;
#[cfg(feature = "postgres")]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres_server;
#[cfg(feature = "postgres")]
mod postgres_tls;
mod queue;
mod queue_id;
mod raw;
mod receiver;
mod rejections;
mod several_backends;
mod store;
mod submit;
mod webhook;
mod webhook_destinations;
mod webhook_hosts;
mod webhook_https;
mod worker;
