//! When a `PollStream` polls, and when it ends.

mod intervals;
mod long_poll;
mod pauses;
mod poll_now;

use std::pin::Pin;
use std::time::Duration;

use foreman_client::source::{PollPolicy, PollStream};
use foreman_client::{Error, JobStatus};
use futures_util::StreamExt;

use crate::support::{MockApi, ReceivedRequest, ScriptedDaemon, bounded_paused, job_id};

type Item = Option<Result<JobStatus, Error>>;
type Stream = Pin<Box<PollStream<MockApi>>>;

/// The poll stream of job 7 and its daemon.
fn stream_of(policy: PollPolicy) -> (Stream, ScriptedDaemon) {
    let (api, daemon) = ScriptedDaemon::new();
    (Box::pin(PollStream::new(api, job_id("7"), policy)), daemon)
}

/// The next item.
async fn next(stream: &mut Stream) -> Item {
    bounded_paused(stream.next()).await
}

/// Responds to one poll. Returns the item that the stream yields, and when the poll arrived.
async fn respond_once(
    stream: &mut Stream,
    daemon: &mut ScriptedDaemon,
    respond: impl FnOnce(ReceivedRequest),
) -> (Item, Duration) {
    tokio::join!(next(stream), async {
        let request = daemon.next_get().await;
        let at = request.at;
        respond(request);
        at
    })
}

fn respond_running(request: ReceivedRequest) {
    request.respond_state("running");
}
