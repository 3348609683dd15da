use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::{Client, JobId};
use http::{Method, Request, Response};
use http_body_util::Full;
use tower::service_fn;
use tower::util::BoxCloneSyncService;

/// A daemon that takes 10 ms for each response, whose jobs run until `done`.
#[derive(Clone, Default)]
pub(super) struct SlowDaemon {
    pub(super) done: Arc<AtomicBool>,
    polls: Arc<AtomicU64>,
}

pub(super) type Http = BoxCloneSyncService<Request<Full<Bytes>>, Response<Full<Bytes>>, http::Error>;

impl SlowDaemon {
    pub(super) fn http(&self) -> Http {
        let (daemon, jobs) = (self.clone(), Arc::new(AtomicU64::new(0)));
        BoxCloneSyncService::new(service_fn(move |request: Request<Full<Bytes>>| {
            let (daemon, jobs) = (daemon.clone(), Arc::clone(&jobs));
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let (status, body) = if *request.method() == Method::POST {
                    (202, format!(r#"{{"job_id":"{}"}}"#, jobs.fetch_add(1, Relaxed)))
                } else {
                    daemon.polls.fetch_add(1, Relaxed);
                    let id = request.uri().path().trim_start_matches("/jobs/").to_owned();
                    let state = if daemon.done.load(Relaxed) || id == "done" { "done" } else { "running" };
                    (200, format!(r#"{{"job_id":"{id}","state":"{state}"}}"#))
                };
                Response::builder().status(status).body(Full::from(body))
            }
        }))
    }

    pub(super) async fn polling_client(&self) -> Client<Http> {
        Client::builder("http://daemon.test").polling().build_with(self.http()).await.unwrap()
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Relaxed)
    }
}

pub(super) fn id(id: impl Display) -> JobId {
    JobId::new(id.to_string()).unwrap()
}
