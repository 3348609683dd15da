//! The integration tests of the client. They are one binary, which links once.
//!
//! A test uses the least powerful double that shows its case. All doubles are in `support`, except where the table names another
//! file.
//!
//! | double | for | file | cannot |
//! |---|---|---|---|
//! | `ScriptedDaemon`, `ReceivedRequest` | each request and response by hand, on paused time | `support/scripted_daemon.rs` | use a socket, remember a job, respond by itself |
//! | `ScriptedBody` | response bodies that break off, never end or declare a wrong size | `support/scripted_body.rs` | be reused |
//! | `WebhookHarness` | a wait with webhooks over a `ScriptedDaemon`: events that are signed, unsigned or forged | `support/webhook_harness.rs` | use a socket |
//! | `RandomScript` | random responses and events of a `ScriptedDaemon`, from a seed | `wait/random.rs` | have more than one job |
//! | `FunctionHttp` | a daemon that is a function from request to response | `support/function_http.rs` | delay a response, send events |
//! | `SimulatedDaemon` | many jobs, with random faults of requests and events, from a seed | `support/simulated_daemon/` | use a socket, run on real time |
//! | `PoolDaemon` | several daemons of unequal speed, their models and outages, on paused time | `support/pool_daemon.rs` | use a socket, fail a job |
//! | `StreamingDaemon` | an event stream that the test writes, on paused time | `support/streaming_daemon.rs` | use a socket, delay a response |
//! | `tower_test::mock`, `service_fn` | the submit and poll services below a wait or a retry policy | `stack/policies.rs`, `stack/retry_service.rs` | show what is on the wire |
//! | `BoundedGate` | a backend of the embedded daemon whose runs the test ends | `support/gate.rs` | fail a run, return another result |
//! | `EmbeddedHarness` | the embedded daemon, a `BoundedGate` and `FaultyHttp` | `support/embedded_harness.rs` | run on paused time |
//! | `FaultyHttp`, `HttpFaults` | an HTTP client that fails on demand and records requests | `support/faulty_http.rs` | break a connection or an event |
//! | `EventEndpoint` | a webhook listener that the test can close | `support/embedded_harness.rs` | verify signatures |
//! | `TcpForwarder` | outages: all connections cut, all responses dropped | `support/tcp_forwarder.rs` | affect a single request |
//! | `ResettingProxy` | one connection reset at a given byte of a submission | `support/resetting_proxy.rs` | keep a connection alive |
//! | `foreman_daemon::faults` | faults inside the embedded daemon | the crate `foreman-daemon` | break a connection within a response |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = ".clippy.toml allows them in tests, but not in what tests share"
)]

mod api;
mod axum_events;
mod client;
mod error_table;
#[path = "../../daemon/tests/it/eventually.rs"]
mod eventually;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest")]
#[path = "../../daemon/tests/it/gate.rs"]
mod gate;
mod gateway_axum;
mod gateway_tonic;
mod hostile;
mod poll;
mod pool;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest")]
#[path = "../../daemon/tests/it/postgres_server.rs"]
mod postgres_server;
mod problem;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use the rest")]
#[path = "../../daemon/tests/it/raw.rs"]
mod raw;
mod stack;
mod status;
mod support;
mod tracing_events;
mod unsent;
mod wait;
mod webhook;
