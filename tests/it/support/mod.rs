//! Fixtures, limits and test doubles. The table in the binary's docs lists the doubles.

mod always_hedge;
mod bounds;
mod embedded_harness;
mod faulty_http;
mod fixtures;
mod function_http;
mod gate;
mod pool_daemon;
mod resetting_proxy;
mod scripted_body;
mod scripted_daemon;
mod simulated_daemon;
mod streaming_daemon;
mod tcp_forwarder;
mod waits;
mod webhook_harness;

pub(crate) use self::always_hedge::AlwaysHedge;
pub(crate) use self::bounds::{bounded, bounded_paused, eventually};
pub(crate) use self::embedded_harness::{EmbeddedHarness, EventEndpoint, fast_polls, fast_retries, polling_client};
pub(crate) use self::faulty_http::{FaultyHttp, HttpFault, HttpFaults};
pub(crate) use self::fixtures::{
    PROMPT, SECRET, error_chain, job_id, job_json, millis, request, seconds, unbound_address,
};
pub(crate) use self::function_http::{Exchange, FunctionHttp, function_http};
pub(crate) use self::gate::{BoundedGate, gated_daemon};
pub(crate) use self::pool_daemon::{Fault, PoolDaemon};
pub(crate) use self::resetting_proxy::{Cut, ResettingProxy};
pub(crate) use self::scripted_body::ScriptedBody;
pub(crate) use self::scripted_daemon::{MockApi, MockHttp, ReceivedRequest, ScriptedDaemon, exchange};
pub(crate) use self::simulated_daemon::{FAULTS, SimulatedDaemon};
pub(crate) use self::streaming_daemon::{SOON, StreamingDaemon, event};
pub(crate) use self::tcp_forwarder::TcpForwarder;
pub(crate) use self::waits::{
    MockWait, WaitTask, assert_cancels, call_wait, cancelling_wait, exact_polls, learn_idempotency, polling_wait,
    polling_wait_with, spawn_attach, spawn_wait,
};
pub(crate) use self::webhook_harness::WebhookHarness;
