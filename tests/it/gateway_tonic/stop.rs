use std::time::Duration;

use foreman_client::tonic014::MAY_BE_RUNNING;
use tokio::task::yield_now;
use tonic::Code;

use super::events::state;
use super::{
    Settings, TonicHarness, assert_result, attach, chat_error, chat_events, connect, job_id, spawn_chat, start_gateway,
    value,
};
use crate::support::{bounded, eventually};

#[tokio::test]
async fn shutdown_drains_waits_and_rejects_new_jobs() {
    let TonicHarness { gate, daemon, gateway, mut caller } = TonicHarness::new().await;
    let call = spawn_chat(&caller);
    let id = gate.run_started().await.job_id().clone();
    let stop = tokio::spawn(gateway.shutdown());
    // The shutdown has started.
    yield_now().await;
    assert_eq!(chat_error(&mut caller).await.code(), Code::Unavailable);
    gate.open(1);
    assert_result(bounded(call).await.unwrap(), &id);
    bounded(stop).await.unwrap().unwrap();
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn drain_timeout_returns_job_id_to_attach() {
    let TonicHarness { gate, daemon, gateway: first, mut caller } =
        TonicHarness::with(|settings| Settings { drain: Duration::ZERO, ..settings }).await;
    let call = spawn_chat(&caller);
    let id = gate.run_started().await.job_id().clone();
    // The gateway needs the job id for its response.
    eventually("the job is polled", || daemon.stats().polls > 0).await;
    bounded(first.shutdown()).await.unwrap();
    let status = bounded(call).await.unwrap().unwrap_err();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::Cancelled, Some(id.as_str())));
    assert_eq!(value(status.metadata(), MAY_BE_RUNNING), Some("true"));
    assert_eq!(chat_error(&mut caller).await.code(), Code::Unavailable);

    let second = start_gateway(&daemon.url(), |settings| settings).await;
    gate.open(1);
    assert_result(attach(&mut connect(&second).await, &id).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn drain_timeout_ends_stream_with_status() {
    let TonicHarness { gate, daemon, gateway, mut caller } =
        TonicHarness::with(|settings| Settings { drain: Duration::ZERO, ..settings }).await;
    let mut events = chat_events(&mut caller).await.unwrap().into_inner();
    let id = gate.run_started().await.job_id().clone();
    while state(&mut events).await != "running" {}
    bounded(gateway.shutdown()).await.unwrap();
    let status = bounded(events.message()).await.unwrap_err();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::Cancelled, Some(id.as_str())));
    assert_eq!((daemon.executions(&id).await, daemon.stats().cancelled), (1, 0));
}
