use tonic::Streaming;

use super::gateway::proto::{ChatEvent, ChatReply, Event};
use super::{Rig, chat, job_id};
use crate::raw::submit;

pub(super) async fn state(events: &mut Streaming<ChatEvent>) -> String {
    match events.message().await.unwrap().unwrap().event.unwrap() {
        Event::State(state) => state,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_states_come_as_a_stream_and_behind_them_the_result() {
    let mut rig = Rig::new().await;
    // The one worker has something else to do, so that the job is queued first.
    submit(&rig.daemon, "a").await;
    rig.gate.begun().await;
    let response = rig.caller.chat_events(chat()).await.unwrap();
    let told = job_id(response.metadata()).unwrap().to_owned();
    let mut events = response.into_inner();
    assert_eq!(state(&mut events).await, "queued");
    rig.gate.open(1);
    let id = rig.gate.begun().await.job_id().clone();
    assert_eq!(told, id.as_str());
    assert_eq!(state(&mut events).await, "running");
    rig.gate.open(1);
    assert_eq!(state(&mut events).await, "done");
    let last = events.message().await.unwrap().unwrap().event.unwrap();
    assert_eq!(last, Event::Result(ChatReply { job_id: told, result: r#""passed""#.to_owned() }));
    assert_eq!(events.message().await.unwrap(), None);
    assert_eq!(rig.daemon.executions(&id).await, 1);
}
