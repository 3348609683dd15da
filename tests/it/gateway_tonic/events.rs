use tonic::Streaming;

use super::proto::{ChatEvent, ChatReply, Event};
use super::{TonicHarness, chat_events, job_id};
use crate::raw::submit;
use crate::support::bounded;

pub(super) async fn state(events: &mut Streaming<ChatEvent>) -> String {
    match bounded(events.message()).await.unwrap().unwrap().event.unwrap() {
        Event::State(state) => state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn stream_yields_states_then_result() {
    let mut harness = TonicHarness::new().await;
    // The only worker is busy, so that the job is queued first.
    bounded(submit(&harness.daemon, "a")).await;
    harness.gate.run_started().await;
    let response = chat_events(&mut harness.caller).await.unwrap();
    let metadata_id = job_id(response.metadata()).unwrap().to_owned();
    let mut events = response.into_inner();
    assert_eq!(state(&mut events).await, "queued");
    harness.gate.open(1);
    let id = harness.gate.run_started().await.job_id().clone();
    assert_eq!(metadata_id, id.as_str());
    assert_eq!(state(&mut events).await, "running");
    harness.gate.open(1);
    assert_eq!(state(&mut events).await, "done");
    let last = bounded(events.message()).await.unwrap().unwrap().event.unwrap();
    assert_eq!(last, Event::Result(ChatReply { job_id: metadata_id, result: r#""passed""#.to_owned() }));
    assert_eq!(bounded(events.message()).await.unwrap(), None);
    assert_eq!(harness.daemon.executions(&id).await, 1);
}
