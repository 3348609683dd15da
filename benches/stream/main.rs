//! How soon a wait ends by the event stream, beside a wait that ends by webhook, and what many waits without an inbound port cost.
//!
//! `cargo bench --bench stream` starts the daemon of this workspace as a process of its own, with a file and default settings.
//! 10,000 jobs wait at the same time, and 3,000 of them end one after the other, 4 ms apart. The latency of each is the time from
//! its `completed_at` to the end of its wait, by the clock that both processes have in common. `-- --quick` is a smoke run with a
//! twentieth of the jobs.
#![expect(clippy::expect_used, reason = "a bench that cannot continue should end")]

mod foreman;
#[allow(dead_code, reason = "each bench uses a part")]
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::time::Duration;

use foreman_client::{BoxError, Client, JobResult, Submission, SubmitRequest};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::support::figures::{Figure, Target};
use self::support::process::{DaemonOptions, DaemonProcess, pin};
use self::support::rounds::{median, quantile};
use self::support::{SECRET, quick};

/// How many jobs wait at the same time.
const WAITING: usize = 10_000;

/// How many of them end.
const ENDED: usize = 3_000;

/// How many submissions are under way at once.
const SUBMITTING: usize = 32;

const ROUNDS: usize = 3;

/// From the last submission to the first end: idle connections are closed after 15 s, and the webhooks of the new state `queued` are sent.
const QUIET: Duration = Duration::from_secs(17);

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Webhooks,
    EventStream,
}

/// One run.
struct Measured {
    /// Milliseconds from the end of a job to the end of its wait: median and 99th percentile.
    median: f64,
    slowest: f64,
    /// While all jobs wait and nothing happens.
    connections: f64,
    /// All polls of the run.
    polls: f64,
}

fn main() -> Result<(), BoxError> {
    if DaemonProcess::is_this() {
        return foreman::main();
    }
    pin(0);
    let (jobs, ended, rounds) = if quick() { (WAITING / 20, ENDED / 20, 1) } else { (WAITING, ENDED, ROUNDS) };
    let mut runs = [const { Vec::new() }; 2];
    for _ in 0..rounds {
        for (runs, source) in runs.iter_mut().zip([Source::Webhooks, Source::EventStream]) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runs.push(runtime.block_on(run(source, jobs, ended))?);
        }
    }
    let [webhooks, stream] = &runs;
    let of = |runs: &[Measured], value: fn(&Measured) -> f64| median(runs.iter().map(value).collect());
    for (name, value) in
        [("median", (|run| run.median) as fn(&Measured) -> f64), ("99th percentile", |run| run.slowest)]
    {
        Figure::new(format!("latency by the event stream, {jobs} waits, {name}"), of(stream, value), "ms")
            .beside(of(webhooks, value))
            .target(Target::Ratio(1.2))
            .record()?;
    }
    Figure::new(format!("polls of {jobs} waits by the event stream"), of(stream, |run| run.polls), "polls")
        .target(Target::Value(0.0))
        .record()?;
    if quick() {
        // Those of the submissions are still open.
        return Ok(());
    }
    Figure::new(
        format!("connections of {jobs} waits by the event stream"),
        of(stream, |run| run.connections),
        "connections",
    )
    .target(Target::Value(1.0))
    .record()
}

async fn run(source: Source, jobs: usize, ended: usize) -> Result<Measured, BoxError> {
    let mut daemon = DaemonProcess::start(DaemonOptions::held())?;
    let address = daemon.url().trim_start_matches("http://").to_owned();
    let client = Client::builder(daemon.url());
    let client = match source {
        Source::Webhooks => client.webhook_secret(SECRET),
        Source::EventStream => client.polling(),
    };
    let client = client.build().await?;
    let mut waits = Vec::with_capacity(jobs);
    let mut submitting = VecDeque::<Submission>::with_capacity(SUBMITTING);
    // The first one alone: it opens the stream, which the others find open.
    submit(&client, &mut waits)?.accepted().await?;
    sleep(Duration::from_millis(500)).await;
    let polls = metric(&address, "foreman_polls_total").await?;
    for _ in 1..jobs {
        if submitting.len() == SUBMITTING
            && let Some(first) = submitting.pop_front()
        {
            first.accepted().await?;
        }
        submitting.push_back(submit(&client, &mut waits)?);
    }
    for submission in submitting {
        submission.accepted().await?;
    }
    sleep(if quick() { Duration::from_secs(1) } else { QUIET }).await;
    let connections = established(&address)? as f64;
    daemon.finish()?;
    let mut latencies = Vec::with_capacity(ended);
    let running = waits.split_off(ended);
    for wait in waits {
        latencies.push(wait.await?);
    }
    let polls = metric(&address, "foreman_polls_total").await? - polls;
    drop(running);
    Ok(Measured { median: quantile(&mut latencies, 0.5), slowest: quantile(&mut latencies, 0.99), connections, polls })
}

/// Starts a wait, which returns its latency in milliseconds.
fn submit(client: &Client, waits: &mut Vec<JoinHandle<f64>>) -> Result<Submission, BoxError> {
    let request = SubmitRequest::builder("m").user("Why is the sky blue?").build()?;
    let submission = request.submission();
    let wait = client.submit(request);
    waits.push(tokio::spawn(async { latency(&wait.await.expect("a job finishes")) }));
    Ok(submission)
}

fn latency(result: &JobResult) -> f64 {
    let ended = result.status().completed_at.expect("a finished job has the time of its end");
    Timestamp::now().duration_since(ended).as_secs_f64() * 1e3
}

/// The value of one metric of the daemon.
async fn metric(address: &str, name: &str) -> Result<f64, BoxError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or("no such metric")?.parse()?)
}

/// How many connections are open at the address, by `/proc`.
fn established(address: &str) -> Result<usize, BoxError> {
    const ESTABLISHED: &str = "01";
    let port = address.rsplit(':').next().ok_or("no port")?.parse::<u16>()?;
    let local = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let is_open = |line: &&str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (ours, _, state) = (fields.next(), fields.next(), fields.next());
        ours.is_some_and(|ours| ours.ends_with(&local)) && state == Some(ESTABLISHED)
    };
    Ok(table.lines().filter(is_open).count())
}
