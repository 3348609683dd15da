use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;

use super::{AxumHarness, CHAT};
use crate::raw::submit;
use crate::support::bounded;

/// Reads server-sent events.
pub(super) struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    pub(super) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream).lines())
    }

    /// The next event and its data; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        let mut name = None;
        while let Some(line) = bounded(self.0.next_line()).await.unwrap() {
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
async fn stream_yields_states_then_result() {
    let harness = AxumHarness::new().await;
    // The only worker is busy, so that the job is queued first.
    bounded(submit(&harness.daemon, "a")).await;
    harness.gate.run_started().await;
    let mut events = Events::of(harness.send("/chat/events", CHAT).await);
    assert_eq!(events.state().await, "queued");
    harness.gate.open(1);
    let id = harness.gate.run_started().await.job_id().clone();
    assert_eq!(events.state().await, "running");
    harness.gate.open(1);
    assert_eq!(events.state().await, "done");
    assert_eq!(events.next().await, Some(("result".to_owned(), "passed".into())));
    assert_eq!(events.next().await, None);
    assert_eq!(harness.daemon.executions(&id).await, 1);
}
