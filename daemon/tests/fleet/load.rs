//! Submissions to all daemons of the fleet.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use foreman_client::JobStatus;
use foreman_client::api::{BaseUrl, Transport};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const SUBMITTERS: usize = 8;

/// What the submitters share with the rounds.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The URLs of the daemons.
    pub(crate) urls: Mutex<Vec<String>>,
    /// The keys and the jobs that got a 202.
    pub(crate) jobs: Mutex<Vec<(String, String)>>,
    accepted: Notify,
    /// Responses that were not a 202, and requests without a response.
    pub(crate) refused: Mutex<usize>,
}

impl Load {
    /// Submits for ever, until the set is dropped.
    pub(crate) fn start(self: &Arc<Self>, hook: &str) -> JoinSet<()> {
        let mut submitters = JoinSet::new();
        for submitter in 0..SUBMITTERS {
            let (load, hook) = (Arc::clone(self), hook.to_owned());
            submitters.spawn(async move {
                for number in 0_u64.. {
                    load.submit(&hook, &format!("key-{submitter}-{number}"), submitter).await;
                }
            });
        }
        submitters
    }

    /// Submits to one daemon after the other, until one accepts the job.
    async fn submit(&self, hook: &str, key: &str, first: usize) {
        for attempt in first.. {
            let url = {
                let urls = self.urls.lock().unwrap();
                urls[attempt % urls.len()].clone()
            };
            if let Some((StatusCode::ACCEPTED, job)) = submit(&url, hook, key).await {
                self.jobs.lock().unwrap().push((key.to_owned(), job));
                self.accepted.notify_waiters();
                return;
            }
            *self.refused.lock().unwrap() += 1;
            tokio::task::yield_now().await;
        }
    }

    /// Waits until so many more jobs are accepted.
    pub(crate) async fn more(&self, jobs: usize) {
        let enough = self.jobs.lock().unwrap().len() + jobs;
        loop {
            let accepted = self.accepted.notified();
            if self.jobs.lock().unwrap().len() >= enough {
                return;
            }
            accepted.await;
        }
    }
}

/// Submits, and returns the status and the job's id; `None` without a response in time.
pub(crate) async fn submit(url: &str, hook: &str, key: &str) -> Option<(StatusCode, String)> {
    let body = format!(r#"{{"model":"m","messages":[],"state_webhook_url":"{hook}"}}"#);
    let request = Request::post(format!("{url}/jobs"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("idempotency-key", key)
        .body(Full::from(body))
        .unwrap();
    // A frozen daemon accepts connections and does not answer.
    let (status, body) = tokio::time::timeout(super::child::LEASE, send(url, request)).await.ok()??;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    Some((status, body["job_id"].as_str().unwrap_or_default().to_owned()))
}

pub(crate) async fn status(url: &str, job: &str) -> JobStatus {
    let request = Request::get(format!("{url}/jobs/{job}")).body(Full::default()).unwrap();
    let (status, body) = send(url, request).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{job} is lost");
    serde_json::from_slice(&body).unwrap()
}

async fn send(url: &str, request: Request<Full<Bytes>>) -> Option<(StatusCode, Bytes)> {
    let base: BaseUrl = url.parse().unwrap();
    let response = Transport::new(&base).unwrap().oneshot(request).await.ok()?;
    let status = response.status();
    Some((status, response.into_body().collect().await.ok()?.to_bytes()))
}
