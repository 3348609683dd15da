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

/// Bounds a hang. The daemon sends pending events immediately.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The states that were received for each job.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    states: Mutex<HashMap<String, HashSet<String>>>,
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

    /// Waits until every state of these jobs was received. Fails if no event arrives before that.
    pub(crate) async fn all_received(&self, jobs: impl Iterator<Item = &String> + Clone) {
        loop {
            let received = self.received.notified();
            let missing = {
                let states = self.states.lock().unwrap();
                let all = |job: &&String| states.get(*job).is_some_and(|states| states.len() == 3);
                jobs.clone().find(|job| !all(job)).map(|job| format!("{job}: {:?}", states.get(job)))
            };
            let Some(missing) = missing else { return };
            assert!(timeout(TIMEOUT, received).await.is_ok(), "missing states of {missing}");
        }
    }
}

async fn take(State(hooks): State<Arc<Hooks>>, Json(status): Json<JobStatus>) -> StatusCode {
    let states = &mut *hooks.states.lock().unwrap();
    states.entry(status.job_id.to_string()).or_default().insert(status.state.to_string());
    hooks.received.notify_waiters();
    StatusCode::NO_CONTENT
}
