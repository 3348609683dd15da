use foreman_client::tonic014::PUSHBACK;
use tonic::Code;

use super::{Settings, TonicHarness, assert_result, chat_error, chat_events, job_id, spawn_chat, value};
use crate::support::bounded;

#[tokio::test]
async fn job_limit_sheds_callers() {
    let mut harness = TonicHarness::with(|settings| Settings { jobs: 1, ..settings }).await;
    let first = spawn_chat(&harness.caller);
    let id = harness.gate.run_started().await.job_id().clone();
    let unary = chat_error(&mut harness.caller).await;
    let stream = chat_events(&mut harness.caller).await.unwrap_err();
    for status in [unary, stream] {
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "overloaded"));
        assert_eq!((value(status.metadata(), PUSHBACK), job_id(status.metadata())), (Some("1000"), None));
    }
    assert_eq!(harness.daemon.stats().accepted, 1);
    harness.gate.open(1);
    assert_result(bounded(first).await.unwrap(), &id);

    // The permit is free again.
    let next = spawn_chat(&harness.caller);
    let id = harness.gate.run_started().await.job_id().clone();
    harness.gate.open(1);
    assert_result(bounded(next).await.unwrap(), &id);
    assert_eq!(harness.daemon.stats().executions, 2);
}
