//! Who is told of the jobs.

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

/// A daemon that has anything left to tell does so at once: this is a hang and no measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The states that were told of each job.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    told: Mutex<HashMap<String, HashSet<String>>>,
    news: Notify,
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

    /// Returns when every state of these jobs was told; fails when nothing is told any more before that.
    pub(crate) async fn all_told(&self, jobs: impl Iterator<Item = &String> + Clone) {
        loop {
            let news = self.news.notified();
            let missing = {
                let told = self.told.lock().unwrap();
                let all = |job: &&String| told.get(*job).is_some_and(|states| states.len() == 3);
                jobs.clone().find(|job| !all(job)).map(|job| format!("{job}: {:?}", told.get(job)))
            };
            let Some(missing) = missing else { return };
            assert!(timeout(PATIENCE, news).await.is_ok(), "not every state was told of {missing}");
        }
    }
}

async fn take(State(hooks): State<Arc<Hooks>>, Json(status): Json<JobStatus>) -> StatusCode {
    let states = &mut *hooks.told.lock().unwrap();
    states.entry(status.job_id.to_string()).or_default().insert(status.state.to_string());
    hooks.news.notify_waiters();
    StatusCode::NO_CONTENT
}
