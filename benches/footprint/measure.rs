//! Measures the memory of waiting jobs, for the bench and for a test.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::source::PollPolicy;
use foreman_client::{BoxError, Client, Notifier, SubmitRequest};
use http::{Method, Request, Response};
use http_body_util::Full;
use peak_alloc::PeakAlloc;
use tower::{Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The limit of allocated bytes for a waiting job.
pub(crate) const TARGET: usize = 790;

/// An HTTP client whose daemon is in memory and whose jobs never end.
#[derive(Clone, Default)]
struct EndlessJobs;

impl Service<Request<Full<Bytes>>> for EndlessJobs {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let (status, id) = match *request.method() {
            Method::POST => (202, uuid::Uuid::new_v4().to_string()),
            _ => (200, request.uri().path().trim_start_matches("/jobs/").to_owned()),
        };
        let body = format!(r#"{{"job_id":"{id}","state":"running"}}"#);
        let response = Response::builder().status(status).body(Full::from(body)).expect("the response is valid");
        ready(Ok(response))
    }
}

/// The resident memory of the process in bytes, by `/proc`. 0 on other systems.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Allocated and resident bytes per waiting job. Each job waits in a task of its own.
async fn count(client: Client<EndlessJobs>, jobs: usize) -> Result<(usize, usize), BoxError> {
    let (allocated_before, resident_before) = (ALLOCATOR.current_usage(), resident());
    let mut tasks = Vec::with_capacity(jobs);
    let task_list = ALLOCATOR.current_usage() - allocated_before;
    for _ in 0..jobs {
        let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
        tasks.push(tokio::spawn(client.jobs().oneshot(request)));
    }
    // The paused clock advances once all tasks wait.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(client.stats().waits.waiting(), jobs as u64, "not all jobs wait");
    let allocated = (ALLOCATOR.current_usage() - allocated_before - task_list) / jobs;
    let resident = resident().saturating_sub(resident_before + task_list) / jobs;
    for task in tasks {
        task.abort();
    }
    Ok((allocated, resident))
}

/// Allocated and resident bytes of each of `jobs` waiting jobs, by webhook or by polling.
pub(crate) fn measure(jobs: usize, webhooks: bool) -> Result<(usize, usize), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let policy =
        PollPolicy::builder().min_interval(Duration::from_secs(60)).max_interval(Duration::from_secs(60)).build()?;
    runtime.block_on(async move {
        let builder = Client::builder("http://daemon.example").poll_policy(policy);
        let builder = match webhooks {
            true => builder.notifier(Notifier::new()).public_url("http://here.example/foreman"),
            false => builder.polling(),
        };
        count(builder.build_with(EndlessJobs).await?, jobs).await
    })
}
