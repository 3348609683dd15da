//! The webhook receiver.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use foreman_client::JobStatus;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bounds a hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The ends that were received for each job: its state and its result.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    ends: Mutex<HashMap<String, HashSet<String>>>,
    received: Notify,
}

impl Hooks {
    pub(crate) async fn start() -> (Arc<Self>, String) {
        let hooks = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&hooks));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (hooks, url)
    }

    /// Waits for the end of a job.
    pub(crate) async fn end(&self, job: &str) -> String {
        loop {
            let received = self.received.notified();
            if let Some(ends) = self.ends.lock().unwrap().get(job) {
                assert_eq!(ends.len(), 1, "{job} has several ends: {ends:?}");
                return ends.iter().next().unwrap().clone();
            }
            assert!(timeout(TIMEOUT, received).await.is_ok(), "no end of {job}");
        }
    }

    /// Fails if a job has several ends.
    pub(crate) fn check(&self) {
        for (job, ends) in &*self.ends.lock().unwrap() {
            assert_eq!(ends.len(), 1, "{job} has several ends: {ends:?}");
        }
    }
}

async fn take(State(hooks): State<Arc<Hooks>>, Json(status): Json<JobStatus>) -> StatusCode {
    if status.state.is_terminal() {
        let end = end(&status);
        hooks.ends.lock().unwrap().entry(status.job_id.to_string()).or_default().insert(end);
        hooks.received.notify_waiters();
    }
    StatusCode::NO_CONTENT
}

/// The state and the result, which is the number of the attempt.
pub(crate) fn end(status: &JobStatus) -> String {
    format!("{} {} {}", status.state, status.attempt, status.result.as_ref().map_or("", |result| result.get()))
}
