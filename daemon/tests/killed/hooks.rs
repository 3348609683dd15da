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

/// Bounds a hang. A daemon sends the events that are due immediately.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was noted of the events of each job.
pub(crate) type Received = HashMap<String, HashSet<String>>;

/// The webhook receiver.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// What to note of an event.
    note: fn(&JobStatus) -> Option<String>,
    received: Mutex<Received>,
    changed: Notify,
}

impl Hooks {
    /// Starts a receiver at an address of this machine. Returns its URL too.
    pub(crate) async fn start(address: &str, note: fn(&JobStatus) -> Option<String>) -> (Arc<Self>, String) {
        let hooks = Arc::new(Self { note, received: Mutex::default(), changed: Notify::new() });
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(take)).with_state(Arc::clone(&hooks));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (hooks, url)
    }

    /// Calls `look` until it returns `Ok`. Fails with its error if no event arrives before that.
    pub(crate) async fn wait<T>(&self, look: impl Fn(&Received) -> Result<T, String>) -> T {
        loop {
            let changed = self.changed.notified();
            let missing = match self.look(&look) {
                Ok(found) => return found,
                Err(missing) => missing,
            };
            assert!(timeout(TIMEOUT, changed).await.is_ok(), "{missing}");
        }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Received) -> T) -> T {
        look(&self.received.lock().unwrap())
    }
}

async fn take(State(hooks): State<Arc<Hooks>>, Json(status): Json<JobStatus>) -> StatusCode {
    if let Some(note) = (hooks.note)(&status) {
        hooks.received.lock().unwrap().entry(status.job_id.to_string()).or_default().insert(note);
        hooks.changed.notify_waiters();
    }
    StatusCode::NO_CONTENT
}
