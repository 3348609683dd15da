use std::time::Duration;

use foreman_client::retry::Reattach;

use super::{CHAT, daemon, gateway, passed, post, problem};
use crate::eventually::eventually;
use crate::forwarder::Forwarder;
use crate::raw::{ended, read};

/// Where no daemon delivers anything: nobody listens at this port.
const NOWHERE: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_daemon_that_goes_and_comes_back_in_mid_job_is_asked_again() {
    let (gate, daemon) = daemon().await;
    let forwarder = Forwarder::to(daemon.local_addr()).await;
    let gateway = gateway(&forwarder.url(), |settings| settings.public_url = Some(NOWHERE.to_owned())).await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.begun().await.job_id().clone();
    // The answer to the submission is on its way yet.
    eventually("polling", || daemon.stats().polls > 0 || gateway.client().stats().waits.polls > 0).await;
    forwarder.cut();
    eventually("failing polls", || gateway.client().stats().waits.poll_failures > 0).await;
    gate.open(1);
    assert_eq!(ended(&daemon, id.as_str()).await["state"], "done");
    forwarder.restore();
    passed(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn an_event_ends_a_wait_while_the_daemon_cannot_be_asked() {
    let (gate, daemon) = daemon().await;
    let forwarder = Forwarder::to(daemon.local_addr()).await;
    let gateway = gateway(&forwarder.url(), |_| ()).await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.begun().await.job_id().clone();
    forwarder.cut();
    gate.open(1);
    passed(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_to_the_submission_is_made_good_by_an_event() {
    let (gate, daemon) = daemon().await;
    let forwarder = Forwarder::to(daemon.local_addr()).await;
    forwarder.lose_answers();
    let gateway = gateway(&forwarder.url(), |_| ()).await;
    let caller = post(&gateway, "/chat", CHAT).await;
    let id = gate.begun().await.job_id().clone();
    eventually("lost", || gateway.client().stats().waits.lost_responses == 1).await;
    forwarder.restore();
    gate.open(1);
    passed(&read(caller).await, &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_daemon_that_cannot_be_reached_is_a_bad_gateway_and_nothing_runs() {
    let (_, daemon) = daemon().await;
    let url = daemon.url();
    daemon.shutdown().await;
    let once = Reattach::builder().retries(1).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let gateway = gateway(&url, |settings| settings.reattach = once.build().unwrap()).await;
    let ask = async |path| read(post(&gateway, path, CHAT).await).await;
    let (whole, events) = tokio::join!(ask("/chat"), ask("/chat/events"));
    for answer in [whole, events] {
        let problem = problem(&answer, 502);
        assert_eq!(problem["title"], "the daemon is unreachable");
        assert_eq!(problem["may_be_running"], false);
        assert!(!answer.body.contains("127.0.0.1"), "{answer:?}");
    }
}
