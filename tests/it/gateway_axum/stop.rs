use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::events::Events;
use super::{CHAT, Rig, gateway, get, passed, problem};
use crate::raw::read;

#[tokio::test]
async fn a_stop_lets_those_who_wait_finish_and_takes_nothing_new() {
    let Rig { gate, daemon, gateway } = Rig::new().await;
    let address = gateway.address();
    let caller = super::post(&gateway, "/chat", CHAT).await;
    let id = gate.begun().await.job_id().clone();
    let stop = tokio::spawn(gateway.shutdown());
    // Now it has begun.
    yield_now().await;
    let request = crate::raw::request("POST", "/chat", &["Content-Type: application/json"], CHAT);
    let answer = read(crate::raw::send(address, request).await).await;
    assert_eq!(problem(&answer, 503)["title"], "stopping");
    assert_eq!(answer.header("retry-after"), Some("1"));
    gate.open(1);
    // By an event, which comes in although it stops.
    passed(&read(caller).await, &id);
    stop.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn past_the_drain_callers_are_told_which_job_goes_on_and_another_gateway_attaches() {
    let Rig { gate, daemon, gateway: first } = Rig::with(|settings| settings.drain = Duration::ZERO).await;
    let caller = super::post(&first, "/chat", CHAT).await;
    let id = gate.begun().await.job_id().clone();
    // The gateway knows the id when it says so.
    crate::eventually::eventually("polling", || daemon.stats().polls > 0).await;
    first.shutdown().await.unwrap();
    let answer = read(caller).await;
    assert_eq!(problem(&answer, 503)["job_id"], id.as_str());
    assert_eq!(answer.header("foreman-job-id"), Some(id.as_str()));

    let second = gateway(&daemon.url(), |_| ()).await;
    gate.open(1);
    passed(&get(&second, &id).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn past_the_drain_a_stream_ends_with_a_problem() {
    let Rig { gate, daemon, gateway } = Rig::with(|settings| settings.drain = Duration::ZERO).await;
    let mut events = Events::of(super::post(&gateway, "/chat/events", CHAT).await);
    let id = gate.begun().await.job_id().clone();
    while events.state().await != "running" {}
    gateway.shutdown().await.unwrap();
    let (name, problem) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &problem["job_id"]), ("problem", &id.as_str().into()));
    assert_eq!(events.next().await, None);
    assert_eq!((daemon.executions(&id).await, daemon.stats().cancelled), (1, 0));
}
