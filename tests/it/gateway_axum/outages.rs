use foreman_client::retry::Reattach;

use super::{CHAT, Settings, assert_result, ended, post, problem, read, signing_daemon, start_gateway};
use crate::support::{TcpForwarder, bounded, eventually, millis};

/// A URL at which no webhook arrives, since the connection is refused.
const REFUSED_URL: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn outage_during_job_is_polled_through() {
    let (gate, daemon) = signing_daemon().await;
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    let gateway =
        start_gateway(&forwarder.url(), |settings| Settings { public_url: Some(REFUSED_URL.to_owned()), ..settings })
            .await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.run_started().await.job_id().clone();
    // The 202 may still be in flight.
    eventually("the job is polled", || daemon.stats().polls > 0 || gateway.client.stats().waits.polls > 0).await;
    forwarder.cut();
    eventually("polls fail", || gateway.client.stats().waits.poll_failures > 0).await;
    gate.open(1);
    assert_eq!(ended(&daemon, &id).await["state"], "done");
    forwarder.restore();
    assert_result(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn event_completes_wait_during_outage() {
    let (gate, daemon) = signing_daemon().await;
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    let gateway = start_gateway(&forwarder.url(), |settings| settings).await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.run_started().await.job_id().clone();
    forwarder.cut();
    gate.open(1);
    assert_result(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn event_recovers_lost_response() {
    let (gate, daemon) = signing_daemon().await;
    let forwarder = TcpForwarder::to(daemon.local_addr()).await;
    forwarder.lose_responses();
    let gateway = start_gateway(&forwarder.url(), |settings| settings).await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.run_started().await.job_id().clone();
    eventually("the response is lost", || gateway.client.stats().waits.lost_responses == 1).await;
    forwarder.restore();
    gate.open(1);
    assert_result(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn unreachable_daemon_is_bad_gateway() {
    let (_, daemon) = signing_daemon().await;
    let url = daemon.url();
    bounded(daemon.shutdown()).await;
    let once = Reattach::builder().retries(1).backoff(millis(1), millis(2));
    let gateway = start_gateway(&url, |settings| Settings { reattach: once.build().unwrap(), ..settings }).await;
    let call = async |path| read(post(&gateway, path, CHAT).await).await;
    let (unary, events) = tokio::join!(call("/chat"), call("/chat/events"));
    for response in [unary, events] {
        let problem = problem(&response, 502);
        assert_eq!(problem["title"], "the daemon is unreachable");
        assert_eq!(problem["may_be_running"], false);
        assert!(!response.body.contains("127.0.0.1"), "{response:?}");
    }
}
