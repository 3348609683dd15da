//! When a poll stream asks, and when it ends.

mod long_poll;
mod pace;
mod poll_now;

use std::pin::Pin;
use std::time::Duration;

use foreman_client::source::{PollPolicy, PollStream};
use foreman_client::{Error, JobId, JobStatus};
use futures_util::StreamExt;

use crate::support::{Asked, Daemon, TestApi};

type Item = Option<Result<JobStatus, Error>>;

/// A stream for job 7.
fn stream(policy: PollPolicy) -> (Pin<Box<PollStream<TestApi>>>, Daemon) {
    let (api, daemon) = Daemon::new();
    (Box::pin(PollStream::new(api, JobId::new("7").unwrap(), policy)), daemon)
}

/// One poll: what the stream yields, and when the poll went out.
async fn turn(
    stream: &mut Pin<Box<PollStream<TestApi>>>,
    daemon: &mut Daemon,
    answer: impl FnOnce(Asked),
) -> (Item, Duration) {
    tokio::join!(stream.next(), async {
        let asked = daemon.get().await;
        let at = asked.at;
        answer(asked);
        at
    })
}
