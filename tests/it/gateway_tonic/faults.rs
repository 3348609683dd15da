use std::time::Duration;

use foreman_client::retry::Reattach;
use foreman_client::tonic::MAY_BE_RUNNING;
use tonic::Code;

use super::{call, caller, chat, daemon, gateway, job_id, passed, told};
use crate::eventually::eventually;
use crate::forwarder::Forwarder;
use crate::raw::ended;

#[tokio::test]
async fn a_daemon_that_goes_and_comes_back_in_mid_job_is_asked_again() {
    let (gate, daemon) = daemon().await;
    let forwarder = Forwarder::to(daemon.local_addr()).await;
    // Events are not believed, so that polls must do it.
    let another = |settings: &mut super::Settings| settings.webhook_secret = Some("another secret".to_owned());
    let gateway = gateway(&forwarder.url(), another).await;
    let call = call(&caller(&gateway).await);
    let id = gate.begun().await.job_id().clone();
    // The answer to the submission is on its way yet.
    eventually("polling", || daemon.stats().polls > 0 || gateway.client().stats().waits.polls > 0).await;
    forwarder.cut();
    eventually("failing polls", || gateway.client().stats().waits.poll_failures > 0).await;
    gate.open(1);
    assert_eq!(ended(&daemon, id.as_str()).await["state"], "done");
    forwarder.restore();
    passed(call.await.unwrap(), &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_to_the_submission_is_made_good_by_an_event() {
    let (gate, daemon) = daemon().await;
    let forwarder = Forwarder::to(daemon.local_addr()).await;
    forwarder.lose_answers();
    let gateway = gateway(&forwarder.url(), |_| ()).await;
    let call = call(&caller(&gateway).await);
    let id = gate.begun().await.job_id().clone();
    eventually("lost", || gateway.client().stats().waits.lost_responses == 1).await;
    forwarder.restore();
    gate.open(1);
    passed(call.await.unwrap(), &id);
    assert_eq!((daemon.executions(&id).await, daemon.stats().accepted), (1, 1));
}

#[tokio::test]
async fn a_daemon_that_cannot_be_reached_is_unavailable_and_nothing_runs() {
    let (_, daemon) = daemon().await;
    let url = daemon.url();
    daemon.shutdown().await;
    let once = Reattach::builder().retries(1).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let gateway = gateway(&url, |settings| settings.reattach = once.build().unwrap()).await;
    let (mut first, mut second) = (caller(&gateway).await, caller(&gateway).await);
    let (unary, stream) = tokio::join!(first.chat(chat()), second.chat_events(chat()));
    for status in [unary.unwrap_err(), stream.unwrap_err()] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the daemon is unreachable"));
        assert_eq!((job_id(status.metadata()), told(status.metadata(), MAY_BE_RUNNING)), (None, None));
    }
}
