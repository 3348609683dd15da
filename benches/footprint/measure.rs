//! Counts what waiting jobs allocate; for the bench, and for the test that holds it to the target.

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

/// What a waiting job may cost, in allocated bytes.
pub(crate) const TARGET: usize = 800;

/// A daemon in memory, whose jobs never end.
#[derive(Clone, Default)]
struct Endless;

impl Service<Request<Full<Bytes>>> for Endless {
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
        let answer = Response::builder().status(status).body(Full::from(body)).expect("an answer");
        ready(Ok(answer))
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Allocated and resident bytes for each of many waiting jobs, each in a task of its own.
async fn count(client: Client<Endless>, jobs: usize) -> Result<(usize, usize), BoxError> {
    let (allocated, was_resident) = (ALLOCATOR.current_usage(), resident());
    let mut tasks = Vec::with_capacity(jobs);
    let room = ALLOCATOR.current_usage() - allocated;
    for _ in 0..jobs {
        let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
        tasks.push(tokio::spawn(client.jobs().oneshot(request)));
    }
    // Time stands still, and goes on by itself when all tasks wait.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(client.stats().waits.waiting(), jobs as u64, "all wait");
    let each = (ALLOCATOR.current_usage() - allocated - room) / jobs;
    let each_resident = resident().saturating_sub(was_resident + room) / jobs;
    for task in tasks {
        task.abort();
    }
    Ok((each, each_resident))
}

/// What each of `jobs` that wait by webhook or by polling costs: allocated bytes, and resident ones.
pub(crate) fn measure(jobs: usize, push: bool) -> Result<(usize, usize), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let policy =
        PollPolicy::builder().interval(Duration::from_secs(60)).max_interval(Duration::from_secs(60)).build()?;
    runtime.block_on(async move {
        let builder = Client::builder("http://daemon.example").poll_policy(policy);
        let builder = match push {
            true => builder.notifier(Notifier::new()).public_url("http://here.example/foreman"),
            false => builder.polling(),
        };
        count(builder.build_with(Endless).await?, jobs).await
    })
}
