use std::time::Duration;

use foreman_client::retry::Reattach;
use foreman_client::wait::JobErrorsLayer;
use foreman_client::{BoxError, Client, Error, JobResult, SubmitRequest};
use futures_util::{StreamExt as _, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tower::{Service, ServiceBuilder, ServiceExt as _};

use super::support::figures::{Figure, Target};
use super::support::process::{DaemonOptions, DaemonProcess, resident};
use super::support::rounds::quantile;
use super::support::{SECRET, quick};

/// How many jobs of [`MILLIS`] the daemon runs at the same time.
const WORKERS: usize = 16;
const MILLIS: u64 = 10;

/// How many jobs the stack has in flight: enough to keep the workers busy.
const LIMIT: usize = 2 * WORKERS;

/// The offered load, in parts of the peak.
const OVERLOAD: f64 = 4.0;

#[derive(Default)]
struct Outcome {
    finished: usize,
    /// Milliseconds from the call to each refusal.
    refusals: Vec<f64>,
    elapsed: Duration,
}

pub(super) async fn measure() -> Result<(), BoxError> {
    let options = DaemonOptions { millis: MILLIS, workers: WORKERS, ..DaemonOptions::default() };
    let daemon = DaemonProcess::start(options)?;
    let client = Client::builder(daemon.url()).webhook_secret(SECRET).build().await?;
    let stack = ServiceBuilder::new()
        .layer(JobErrorsLayer::new())
        .load_shed()
        .concurrency_limit(LIMIT)
        .retry(Reattach::default())
        .service(client.jobs());
    let time = Duration::from_secs(if quick() { 1 } else { 10 });
    closed_loop(&client, time / 5).await?;
    let peak = closed_loop(&client, time).await?;
    // Once to warm up, also the buffers of the outcomes.
    offer(&stack, OVERLOAD * peak, time / 5).await?;
    let before = resident();
    let mut outcome = offer(&stack, OVERLOAD * peak, time).await?;
    let after = resident();
    let rate = outcome.finished as f64 / outcome.elapsed.as_secs_f64();
    Figure::new("throughput under four times the load, beside the peak", rate, "jobs/s")
        .beside(peak)
        .target(Target::RatioAtLeast(0.95))
        .record()?;
    Figure::new("resident memory after the overload, beside before", after as f64, "bytes")
        .beside(before as f64)
        .record()?;
    println!("{} jobs finished, {} were refused", outcome.finished, outcome.refusals.len());
    if outcome.refusals.is_empty() {
        return Err("nothing was refused".into());
    }
    Figure::new("refusal, median", quantile(&mut outcome.refusals, 0.5), "ms").record()?;
    Figure::new("refusal, 99th percentile", quantile(&mut outcome.refusals, 0.99), "ms")
        .target(Target::Value(1.0))
        .record()
}

fn request() -> Result<SubmitRequest, Error> {
    SubmitRequest::builder("m").user("Why is the sky blue?").build()
}

/// Jobs per second with as many jobs in flight as the stack allows, without the stack.
async fn closed_loop(client: &Client, time: Duration) -> Result<f64, BoxError> {
    let start = Instant::now();
    let mut jobs = stream::iter(std::iter::from_fn(|| (start.elapsed() < time).then_some(())))
        .map(|()| {
            let client = client.clone();
            async { tokio::spawn(async move { client.submit(request()?).await }).await.expect("a job does not panic") }
        })
        .buffer_unordered(LIMIT);
    let mut finished = 0;
    while let Some(result) = jobs.next().await {
        result?.into_success()?;
        finished += 1;
    }
    Ok(f64::from(finished) / start.elapsed().as_secs_f64())
}

/// Calls `stack` `rate` times a second, whatever happens to the calls before.
async fn offer<S>(stack: &S, rate: f64, time: Duration) -> Result<Outcome, BoxError>
where
    S: Service<SubmitRequest, Response = JobResult, Error = Error, Future: Send> + Clone + Send + 'static,
{
    let mut outcome = Outcome::default();
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    let mut offered = 0;
    while start.elapsed() < time {
        ticks.tick().await;
        while f64::from(offered) < rate * start.elapsed().as_secs_f64() {
            offered += 1;
            let (stack, called) = (stack.clone(), Instant::now());
            let request = request()?;
            tasks.spawn(async move { (stack.oneshot(request).await, called.elapsed()) });
        }
        while let Some(ended) = tasks.try_join_next() {
            outcome.add(ended?)?;
        }
    }
    while let Some(ended) = tasks.join_next().await {
        outcome.add(ended?)?;
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, (result, time): (Result<JobResult, Error>, Duration)) -> Result<(), BoxError> {
        match result {
            Ok(result) => {
                result.into_success()?;
                self.finished += 1;
            }
            Err(error) if error.is_overloaded() => self.refusals.push(time.as_secs_f64() * 1e3),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
