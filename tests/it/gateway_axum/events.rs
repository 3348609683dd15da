use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;

use super::{CHAT, Rig};
use crate::raw::submit;

/// Server-sent events as they come.
pub(super) struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    pub(super) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream).lines())
    }

    /// The next event and its data; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        while let Some(line) = self.0.next_line().await.unwrap() {
            if let Some(event) = line.strip_prefix("event: ") {
                name = Some(event.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name.unwrap(), serde_json::from_str(data).unwrap()));
            }
        }
        None
    }

    pub(super) async fn state(&mut self) -> String {
        let (name, data) = self.next().await.unwrap();
        assert_eq!(name, "state", "{data}");
        data["state"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_states_come_as_events_and_behind_them_the_result() {
    let rig = Rig::new().await;
    // The one worker has something else to do, so that the job is queued first.
    submit(&rig.daemon, "a").await;
    rig.gate.begun().await;
    let mut events = Events::of(rig.send("/chat/events", CHAT).await);
    assert_eq!(events.state().await, "queued");
    rig.gate.open(1);
    let id = rig.gate.begun().await.job_id().clone();
    assert_eq!(events.state().await, "running");
    rig.gate.open(1);
    assert_eq!(events.state().await, "done");
    assert_eq!(events.next().await, Some(("result".to_owned(), "passed".into())));
    assert_eq!(events.next().await, None);
    assert_eq!(rig.daemon.executions(&id).await, 1);
}
