//! One poll by the default transport beside a GET of raw hyper on a connection that stays open, with the answer parsed.
//!
//! `cargo bench --bench poll`; `-- --quick` is a smoke run. The daemon is a process of its own. Polls follow each other; batches alternate,
//! and the figures are medians.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;

use bytes::Bytes;
use foreman_client::api::GetJob;
use foreman_client::{BoxError, Client, JobId, JobStatus, SubmitRequest};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use tower::ServiceExt as _;

use self::support::daemon::{self, connect};
use self::support::figures::Figure;
use self::support::process::{DaemonOptions, DaemonProcess, cpu_time, pin};
use self::support::quick;
use self::support::rounds::{median, nanos_each};

const BATCH: usize = 2_000;

/// A batch of polls: microseconds of each.
#[derive(Clone, Copy)]
struct Polls {
    cpu: f64,
    time: f64,
}

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return daemon::main();
    }
    pin(0);
    let running = DaemonProcess::start(DaemonOptions::held())?;
    let finished = DaemonProcess::start(DaemonOptions::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(running.url(), "running"))?;
    runtime.block_on(measure(finished.url(), "finished"))
}

async fn measure(url: &str, state: &str) -> Result<(), BoxError> {
    let authority = url.parse::<Uri>()?.authority().ok_or("no authority")?.to_string();
    let client = Client::builder(url).polling().build().await?;
    let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
    let job_id = client.api().oneshot(request).await?.job_id;
    let mut connection = connect(&authority).await?;
    let (mut polls, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..if quick() { 3 } else { 31 } {
        floor.push(timed(async || get(&mut connection, &authority, &job_id).await).await?);
        polls.push(
            timed(async || {
                black_box(client.api().oneshot(GetJob::new(job_id.clone())).await?);
                Ok(())
            })
            .await?,
        );
    }
    let of = |polls: &[Polls], value: fn(&Polls) -> f64| median(polls.iter().map(value).collect());
    Figure::new(format!("processor time of a poll, {state} job"), of(&polls, |polls| polls.cpu), "µs")
        .beside(of(&floor, |polls| polls.cpu))
        .record()?;
    Figure::new(format!("time of a poll, {state} job"), of(&polls, |polls| polls.time), "µs")
        .beside(of(&floor, |polls| polls.time))
        .record()
}

async fn timed(mut poll: impl AsyncFnMut() -> Result<(), BoxError>) -> Result<Polls, BoxError> {
    let (cpu, start) = (cpu_time(), Instant::now());
    for _ in 0..BATCH {
        poll().await?;
    }
    let (cpu, time) = (cpu_time() - cpu, start.elapsed());
    Ok(Polls { cpu: nanos_each(cpu, BATCH) / 1e3, time: nanos_each(time, BATCH) / 1e3 })
}

async fn get(connection: &mut SendRequest<Full<Bytes>>, authority: &str, id: &JobId) -> Result<(), BoxError> {
    let request = Request::get(format!("/jobs/{}", id.as_str())).header("host", authority).body(Full::default())?;
    connection.ready().await?;
    let body = connection.send_request(request).await?.into_body().collect().await?.to_bytes();
    black_box(serde_json::from_slice::<JobStatus>(&body)?);
    Ok(())
}
