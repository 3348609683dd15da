use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::events::Events;
use super::{AxumHarness, CHAT, Settings, assert_result, get, post, problem, read, start_gateway};
use crate::support::{bounded, eventually};

#[tokio::test]
async fn shutdown_drains_waits_and_rejects_new_jobs() {
    let AxumHarness { gate, daemon, gateway } = AxumHarness::new().await;
    let address = gateway.address;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.run_started().await.job_id().clone();
    let stop = tokio::spawn(gateway.shutdown());
    // The shutdown has started.
    yield_now().await;
    let request = crate::raw::request("POST", "/chat", &["Content-Type: application/json"], CHAT);
    let response = read(crate::raw::send(address, request).await).await;
    assert_eq!(problem(&response, 503)["title"], "shutting down");
    assert_eq!(response.header("retry-after"), Some("1"));
    gate.open(1);
    // By an event: the webhook route is open during the drain.
    assert_result(&read(caller).await, &id);
    bounded(stop).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn drain_timeout_returns_job_id_to_attach() {
    let AxumHarness { gate, daemon, gateway: first } =
        AxumHarness::with(|settings| Settings { drain: Duration::ZERO, ..settings }).await;
    let caller = post(&first, "/chat", CHAT).await;
    let id = gate.run_started().await.job_id().clone();
    // The gateway needs the job id for its response.
    eventually("the job is polled", || daemon.stats().polls > 0).await;
    bounded(first.shutdown()).await.unwrap();
    let response = read(caller).await;
    assert_eq!(problem(&response, 504)["job_id"], id.as_str());
    assert_eq!(response.header("foreman-job-id"), Some(id.as_str()));

    let second = start_gateway(&daemon.url(), |settings| settings).await;
    gate.open(1);
    assert_result(&get(&second, &id).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn drain_timeout_ends_stream_with_problem() {
    let AxumHarness { gate, daemon, gateway } =
        AxumHarness::with(|settings| Settings { drain: Duration::ZERO, ..settings }).await;
    let mut events = Events::of(post(&gateway, "/chat/events", CHAT).await);
    let id = gate.run_started().await.job_id().clone();
    while events.state().await != "running" {}
    bounded(gateway.shutdown()).await.unwrap();
    let (name, problem) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &problem["job_id"]), ("problem", &id.as_str().into()));
    assert_eq!(events.next().await, None);
    assert_eq!((daemon.executions(&id).await, daemon.stats().cancelled), (1, 0));
}
