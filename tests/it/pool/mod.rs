//! One service over the clients of several daemons.

mod attach;
mod choice;
mod discovery;
mod failures;
mod listener;
mod readiness;
mod replaced_clients;
mod simulation;
mod sticky;

use foreman_client::{BoxError, Client, Pool, SubmitRequest};
use futures_util::stream;
use tokio::sync::mpsc;
use tower::discover::Change;

use crate::support::PoolDaemon;

type Changes = mpsc::UnboundedSender<Result<Change<u8, Client<PoolDaemon>>, BoxError>>;

/// A pool of daemons whose results come by polls. Its choices are the same in each run.
async fn pool(daemons: impl IntoIterator<Item = &PoolDaemon>) -> Pool<PoolDaemon> {
    fastrand::seed(7);
    let mut clients = Vec::new();
    for daemon in daemons {
        clients.push(daemon.client().await);
    }
    Pool::from_clients(clients).unwrap()
}

/// A pool of the daemons that the sender adds and removes. Its choices are the same in each run.
fn discovered() -> (Pool<PoolDaemon>, Changes) {
    fastrand::seed(7);
    let (changes, next) = mpsc::unbounded_channel();
    let stream = stream::unfold(next, async |mut next: mpsc::UnboundedReceiver<_>| Some((next.recv().await?, next)));
    (Pool::builder().discover(stream).unwrap(), changes)
}

fn request_for(model: &str) -> SubmitRequest {
    SubmitRequest::builder(model).user("hi").build().unwrap()
}

/// Lets the pool request the lists of models.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
