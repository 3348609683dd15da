//! What a waiting job costs: the size of its future, the bytes it has allocated, and the memory that is resident for it.
//!
//! `cargo bench --bench footprint`

#![expect(clippy::expect_used, reason = "a bench that cannot go on should end")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreman_client::api::{Api, Transport};
use foreman_client::client::Jobs;
use foreman_client::source::PollPolicy;
use foreman_client::{BoxError, Client, JobWait, Notifier, SubmitRequest};
use http::{Method, Request, Response};
use http_body_util::Full;
use peak_alloc::PeakAlloc;
use tower::retry::Retry;
use tower::{Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const JOBS: usize = 100_000;
/// What a waiting job may cost, in allocated bytes.
const TARGET: usize = 800;

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
async fn measure(client: Client<Endless>) -> Result<(usize, usize), BoxError> {
    let (allocated, was_resident) = (ALLOCATOR.current_usage(), resident());
    let mut tasks = Vec::with_capacity(JOBS);
    let room = ALLOCATOR.current_usage() - allocated;
    for _ in 0..JOBS {
        let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
        tasks.push(tokio::spawn(client.jobs().oneshot(request)));
    }
    // Time stands still, and goes on by itself when all tasks wait.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(client.stats().waits.waiting(), JOBS as u64, "all wait");
    let each = (ALLOCATOR.current_usage() - allocated - room) / JOBS;
    let each_resident = resident().saturating_sub(was_resident + room) / JOBS;
    for task in tasks {
        task.abort();
    }
    Ok((each, each_resident))
}

fn main() -> Result<(), BoxError> {
    type Default = JobWait<Retry<foreman_client::retry::RetrySubmission, Api<Transport>>, Api<Transport>>;
    let _: fn(&mut Jobs, SubmitRequest) -> Default = |jobs, request| jobs.call(request);
    println!("a JobWait of the default stack: {} bytes", size_of::<Default>());

    let policy =
        PollPolicy::builder().interval(Duration::from_secs(60)).max_interval(Duration::from_secs(60)).build()?;
    let mut over = false;
    for push in [true, false] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let policy = policy.clone();
        let (allocated, resident) = runtime.block_on(async move {
            let builder = Client::builder("http://daemon.example").http_service(Endless).poll_policy(policy);
            let builder = match push {
                true => builder.notifier(Notifier::new()).public_url("http://here.example/foreman"),
                false => builder.polling(),
            };
            measure(builder.build().await?).await
        })?;
        let by = if push { "webhook" } else { "polling" };
        println!("a job that waits by {by}, of {JOBS}: {allocated} bytes allocated, {resident} bytes resident");
        over |= allocated >= TARGET;
    }
    if over { Err(format!("the target is under {TARGET} bytes").into()) } else { Ok(()) }
}
