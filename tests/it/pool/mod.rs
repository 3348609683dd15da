//! One service over the clients of several daemons.

mod attach;
mod choice;
mod discovery;
mod failures;
mod listener;
mod readiness;
mod simulation;
mod sticky;

use foreman_client::{Pool, SubmitRequest};

use crate::support::PoolDaemon;

/// A pool of daemons whose results come by polls. Its choices are the same in each run.
async fn pool(daemons: impl IntoIterator<Item = &PoolDaemon>) -> Pool<PoolDaemon> {
    fastrand::seed(7);
    let mut clients = Vec::new();
    for daemon in daemons {
        clients.push(daemon.client().await);
    }
    Pool::from_clients(clients).unwrap()
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
