use std::time::Duration;

use foreman_client::tonic::MAY_BE_RUNNING;
use tokio::task::yield_now;
use tonic::Code;

use super::events::state;
use super::{Rig, attach, call, chat, gateway, job_id, passed, told};
use crate::eventually::eventually;

#[tokio::test]
async fn a_stop_lets_those_who_wait_finish_and_takes_nothing_new() {
    let Rig { gate, daemon, gateway, mut caller } = Rig::new().await;
    let call = call(&caller);
    let id = gate.begun().await.job_id().clone();
    let stop = tokio::spawn(gateway.shutdown());
    // Now it has begun.
    yield_now().await;
    assert_eq!(caller.chat(chat()).await.unwrap_err().code(), Code::Unavailable);
    gate.open(1);
    passed(call.await.unwrap(), &id);
    stop.await.unwrap().unwrap();
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn past_the_drain_callers_are_told_which_job_goes_on_and_another_gateway_attaches() {
    let Rig { gate, daemon, gateway: first, mut caller } = Rig::with(|settings| settings.drain = Duration::ZERO).await;
    let call = call(&caller);
    let id = gate.begun().await.job_id().clone();
    // The gateway knows the id when it says so.
    eventually("polling", || daemon.stats().polls > 0).await;
    first.shutdown().await.unwrap();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::Cancelled, Some(id.as_str())));
    assert_eq!(told(status.metadata(), MAY_BE_RUNNING), Some("true"));
    assert_eq!(caller.chat(chat()).await.unwrap_err().code(), Code::Unavailable);

    let second = gateway(&daemon.url(), |_| ()).await;
    gate.open(1);
    passed(attach(&mut super::caller(&second).await, &id).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn past_the_drain_a_stream_ends_with_a_status() {
    let Rig { gate, daemon, gateway, mut caller } = Rig::with(|settings| settings.drain = Duration::ZERO).await;
    let mut events = caller.chat_events(chat()).await.unwrap().into_inner();
    let id = gate.begun().await.job_id().clone();
    while state(&mut events).await != "running" {}
    gateway.shutdown().await.unwrap();
    let status = events.message().await.unwrap_err();
    assert_eq!((status.code(), job_id(status.metadata())), (Code::Cancelled, Some(id.as_str())));
    assert_eq!((daemon.executions(&id).await, daemon.stats().cancelled), (1, 0));
}
