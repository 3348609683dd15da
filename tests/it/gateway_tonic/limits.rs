use foreman_client::tonic::PUSHBACK;
use tonic::Code;

use super::{Rig, call, chat, job_id, passed, told};

#[tokio::test]
async fn over_the_jobs_in_flight_callers_are_turned_away_and_nothing_is_submitted() {
    let mut rig = Rig::with(|settings| settings.jobs = 1).await;
    let first = call(&rig.caller);
    let id = rig.gate.begun().await.job_id().clone();
    let unary = rig.caller.chat(chat()).await.unwrap_err();
    let stream = rig.caller.chat_events(chat()).await.unwrap_err();
    for status in [unary, stream] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "overloaded"));
        assert_eq!((told(status.metadata(), PUSHBACK), job_id(status.metadata())), (Some("1000"), None));
    }
    assert_eq!(rig.daemon.stats().accepted, 1);
    rig.gate.open(1);
    passed(first.await.unwrap(), &id);

    // Its place is free again.
    let next = call(&rig.caller);
    let id = rig.gate.begun().await.job_id().clone();
    rig.gate.open(1);
    passed(next.await.unwrap(), &id);
    assert_eq!(rig.daemon.stats().executions, 2);
}
