use foreman_client::Client;
use foreman_client::retry::Reattach;
use foreman_client::tonic014::MAY_BE_RUNNING;
use tonic::Code;

use super::{
    Settings, assert_result, chat_error, chat_events, connect, job_id, signing_daemon, spawn_chat, start_gateway, value,
};
use crate::raw::ended;
use crate::support::{TcpForwarder, bounded, eventually, millis};

#[tokio::test]
async fn outage_during_job_is_polled_through() {
    let (gate, daemon) = signing_daemon().await;
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    // The receiver rejects the events, so that only polls find the end.
    let client = Client::builder(forwarder.url()).webhook_secret("another secret");
    let other_secret = |settings: Settings| Settings { client, ..settings };
    let gateway = start_gateway(&forwarder.url(), other_secret).await;
    let call = spawn_chat(&connect(&gateway).await);
    let id = gate.run_started().await.job_id().clone();
    // The 202 may still be in flight.
    eventually("the job is polled", || daemon.stats().polls > 0 || gateway.client.stats().waits.polls > 0).await;
    forwarder.cut();
    eventually("polls fail", || gateway.client.stats().waits.poll_failures > 0).await;
    gate.open(1);
    assert_eq!(bounded(ended(&daemon, id.as_str())).await["state"], "done");
    forwarder.restore();
    assert_result(bounded(call).await.unwrap(), &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn event_recovers_lost_response() {
    let (gate, daemon) = signing_daemon().await;
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    forwarder.lose_responses();
    let gateway = start_gateway(&forwarder.url(), |settings| settings).await;
    let call = spawn_chat(&connect(&gateway).await);
    let id = gate.run_started().await.job_id().clone();
    eventually("the response is lost", || gateway.client.stats().waits.lost_responses == 1).await;
    forwarder.restore();
    gate.open(1);
    assert_result(bounded(call).await.unwrap(), &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn unreachable_daemon_is_unavailable() {
    let (_, daemon) = signing_daemon().await;
    let url = daemon.url();
    bounded(daemon.shutdown()).await;
    let once = Reattach::builder().retries(1).backoff(millis(1), millis(2));
    let gateway = start_gateway(&url, |settings| Settings { reattach: once.build().unwrap(), ..settings }).await;
    let (mut first, mut second) = (connect(&gateway).await, connect(&gateway).await);
    let (unary, stream) = tokio::join!(chat_error(&mut first), chat_events(&mut second));
    for status in [unary, stream.unwrap_err()] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the daemon is unreachable"));
        assert_eq!((job_id(status.metadata()), value(status.metadata(), MAY_BE_RUNNING)), (None, None));
    }
}
